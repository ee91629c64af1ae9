"""Tests the checks: breaks one thing in a copy of the folder, and expects that a check finds it."""

import shutil
import tempfile
from functools import partial
from pathlib import Path

from . import monitoring
from .tree import Tree

# Each entry breaks one thing: the check, the file, the text to replace, the replacement, and a word of the expected
# problem.
BREAKS = [
    ("yaml", "deploy/kustomize/base/service.yaml", "  type: ClusterIP", "   type: ClusterIP", "syntax error"),
    ("container", "deploy/container/Containerfile", "USER 65532:65532", "USER root", "DL3002"),
    ("container", "deploy/container/Containerfile", "FROM scratch", "FROM debian:latest", "not from scratch"),
    ("container", "deploy/container/Containerfile", "COPY . .", "COPPY . .", "unexpected"),
    ("container", "deploy/container/Containerfile", "-alpine@sha256:", "-alpine AS", "has no digest"),
    ("container", "deploy/container/Containerfile", "image.source", "image.sources", "source is missing"),
    ("versions", "Cargo.toml", 'version = "0', 'version = "1', "Chart.yaml"),
    ("versions", "deploy/container/Containerfile", "ARG VERSION=0", "ARG VERSION=1", "Containerfile"),
    ("compose", "deploy/compose/compose.yaml", "[dump,", "[dumb,", "dumb"),
    ("compose", "deploy/compose/compose.yaml", "127.0.0.1:5300", "5300", "other machines"),
    ("compose", "deploy/compose/compose.yaml", "stop_grace_period: 15s", "stop_grace_period: 12s", "stop_grace_period 12"),
    ("compose", "deploy/compose/compose.yaml", "mem_limit:", "memory_limit:", "memory_limit"),
    ("compose", "deploy/compose/Corefile", "dnstap.sock", "tap.sock", "Corefile"),
    ("compose", "deploy/compose/tapfan/Tapfile", "name collector", "mame collector", "mame"),
    ("units", "deploy/systemd/tapfan.service", "ProtectSystem=strict", "ProtectSystem=stricd", "protect system"),
    ("units", "deploy/systemd/tapfan.service", "NoNewPrivileges=yes", "NoNewPriviledges=yes", "NoNewPriviledges"),
    ("units", "deploy/systemd/tapfan.service", "SystemCallFilter=@system-service", "", "exposure"),
    ("units", "deploy/systemd/tapfan.service", "TimeoutStopSec=20", "TimeoutStopSec=5", "TimeoutStopSec"),
    ("units", "deploy/systemd/tapfan.service", "Preserve=yes", "Preserve=restart", "RuntimeDirectoryPreserve"),
    ("units", "deploy/systemd/tapfan.socket", "SocketMode=0660", "SocketMode=rw", "mode value"),
    ("units", "deploy/systemd/tapfan.socket", "FileDescriptorName=", "FileDescriptor=", "FileDescriptor"),
    ("units", "deploy/systemd/tapfan-host.conf", "65532 65532", "65533 65532", "no /run/tapfan"),
    ("units", "deploy/systemd/tapfan-host.conf", "/var/lib/tapfan 0700", "/var/lib/tapfan 0755", "/var/lib/tapfan is not 700"),
    ("units", "deploy/systemd/tapfan.service", "StateDirectory=tapfan", "StateDirectory=taps", "does not have StateDirectory=tapfan"),
    ("packages", "deploy/packages/nfpm.yaml", "/usr/lib/sysusers.d", "/etc/sysusers.d", "no /usr/lib/sysusers.d"),
    ("packages", "deploy/packages/nfpm.yaml", "type: config|noreplace", "", "is no conffile"),
    ("packages", "deploy/packages/nfpm.yaml", "man5/*", "man1/*", "no /usr/share/man/man5/Tapfile.5.gz"),
    ("packages", "deploy/packages/sbom.py", 'how["kind"] is None', 'how["kind"] != "build"', "insta"),
    ("packages", "deploy/package", "|/usr/bin/tapfan|", "|/bin/tapfan|", "ExecStart"),
    ("packages", "deploy/packages/nfpm.yaml", "preremove: ", "# preremove: ", "disable --now"),
    ("packages", "deploy/packages/Tapfile", "name files", "mame files", "mame"),
    ("scripts", "deploy/package", '"$program" "$tarball', '$program "$tarball', "SC2086"),
    ("workflows", ".github/workflows/release.yaml", "needs: [gate, notes]", "needs: [gates, notes]", "gates"),
    ("workflows", ".github/workflows/release.yaml", "persist-credentials: false", "clean: true", "artipacked"),
    ("workflows", ".github/workflows/ci.yaml", "@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7", "digest of a commit"),
    ("workflows", ".github/workflows/release.yaml", '"$VERSION" >notes.md', "$VERSION >notes.md", "SC2086"),
    ("workflows", ".github/ISSUE_TEMPLATE/bug.yaml", "description: tapfan", "about: tapfan", "description"),
    ("release-notes", "deploy/release/notes.sh", '"## [") == 1', '"### [") == 1', "0.2.0"),
    ("release-chart", "deploy/helm/tapfan/values.yaml", "  digest: ''", "  digest: ''  # none", "exit status"),
    ("charts", "deploy/helm/tapfan/ci/daemonset.yaml", "mode: daemonset", "mode: statefulset", "mode"),
    ("charts", "deploy/helm/tapfan/ci/deployment.yaml", "repository:", "repositry:", "repositry"),
    ("charts", "deploy/helm/tapfan/templates/service.yaml", "{{- end }}", "{{- ende }}", "ende"),
    ("charts", "deploy/helm/tapfan/values.yaml", "pullPolicy: IfNotPresent", "pullPolicy: Sometimes", "pullPolicy"),
    ("values", "deploy/helm/tapfan/values.yaml", "preStopSeconds: 5", "preStopSeconds: 10", "changes preStopSeconds"),
    ("values", "deploy/helm/tapfan/values.yaml", "  automount: false", "  automount: false\n  token: no", "no serviceAccount.token"),
    ("values", "deploy/helm/tapfan/values.yaml", "probesPort: 9181", "probePort: 9181", "probesPort, which is not"),
    ("readme", "deploy/helm/tapfan/values.yaml", "replicas: 2", "replicas: 3", "--write"),
    ("readme", "deploy/helm/tapfan/values.yaml", "# -- Labels of the Pods.", "# Labels of the Pods.", "describe podLabels"),
    ("readme", "deploy/helm/tapfan/README.md.gotmpl", "probes 0.0.0.0:9181", "probes 0.0.0.0:9182", "9182"),
    ("readme", "deploy/helm/tapfan/README.md.gotmpl", "port: 6443", "port: 6444", "port 6444"),
    ("readme", "deploy/helm/tapfan/README.md.gotmpl", "mountPath: /etc/tapfan-tls", "mountPath: /etc/tls", "mount nothing for /etc/tapfan-tls/tls.crt"),
    ("refusals", "deploy/helm/tapfan/templates/_tapfile.tpl", "if not (has . $named)", "if false", "listens at port 6443"),
    ("refusals", "deploy/helm/tapfan/templates/_tapfile.tpl", "(?m)#.*$", "(?m)//.*$", "is refused"),
    ("refusals", "deploy/helm/tapfan/templates/workload.yaml", '{{- include "tapfan.validate" . -}}', "", "is not refused"),
    ("refusals", "deploy/helm/tapfan/templates/_tapfile.tpl", '{{- include "tapfan.validateSocket" . -}}', "", "is not refused"),
    ("refusals", "deploy/helm/tapfan/templates/_tapfile.tpl", "or $unclear $mounted .Values.hostNetwork", "or $unclear $mounted", "is refused"),
    ("refusals", "deploy/helm/tapfan/templates/_tapfile.tpl", "268435456", "0", "spool.size=8Gi is not refused"),
    ("refusals", "deploy/helm/tapfan/templates/_tapfile.tpl", '{{- include "tapfan.validateSpoolVolume" . -}}', "", "is not refused"),
    ("refusals", "deploy/helm/tapfan/templates/_tapfile.tpl", '(?:^|\\{)[ \\t]*spool', "^[ \\t]*spool", "is not refused"),
    ("notes", "deploy/helm/tapfan/templates/NOTES.txt", 'if eq $spool "claim"', 'if eq $spool "volume"', "a claim of 10Gi"),
    ("notes", "deploy/helm/tapfan/templates/NOTES.txt", "{{ with .Values.service.clusterIP }}", "{{ with false }}", "2001:db8:60::6000"),
    ("notes", "deploy/helm/tapfan/templates/NOTES.txt", "(import|spool)", "(import|listen)", "No sink of the Tapfile"),
    ("names", "deploy/helm/tapfan/templates/_helpers.tpl", "trunc 52", "trunc 57", "more than 52"),
    ("notes", "deploy/helm/tapfan/templates/NOTES.txt", "{{ $port }}", "{{ $index }}", "TCP ports"),
    ("notes", "deploy/helm/tapfan/templates/NOTES.txt", ".metricsFrom", ".metricFrom", "null"),
    ("openshift", "deploy/helm/tapfan/templates/_helpers.tpl", '"runAsUser" "runAsGroup"', '"runAsGroup"', "runAsUser is set"),
    ("openshift", "deploy/helm/tapfan/values.yaml", "  allowPrivilegeEscalation: false", "", "privileges"),
    ("schemas", "deploy/helm/tapfan/templates/tests/test.yaml", "restartPolicy: Never", "restart: Never", "helm test"),
    ("schemas", "deploy/kustomize/base/deployment.yaml", "periodSeconds: 10", "periodSecond: 10", "periodSecond"),
    ("schemas", "deploy/helm/tapfan/templates/workload.yaml", "replicas:", "replica:", "replica"),
    ("schemas", "deploy/kustomize/components/sidecar/sidecar.yaml", "cpu: 50m", "cpu: {}", "sidecar"),
    ("same", "deploy/kustomize/base/deployment.yaml", "memory: 64Mi", "memory: 65Mi", "65Mi"),
    ("same", "deploy/kustomize/overlays/statefulset/statefulset.yaml", "storage: 10Gi", "storage: 20Gi", "storage: 20Gi"),
    ("same", "deploy/helm/tapfan/values.yaml", "preStopSeconds: 5", "preStopSeconds: 6", "seconds: 6"),
    ("pods", "deploy/kustomize/components/sidecar/Tapfile", "drain 10s", "drain 60s", "terminationGracePeriodSeconds 30"),
    ("pods", "deploy/kustomize/base/deployment.yaml", "readOnlyRootFilesystem: true", "", "readOnlyRootFilesystem"),
    ("pods", "deploy/kustomize/overlays/statefulset/statefulset.yaml", "storage: 10Gi", "storage: 8Gi", "need 8448Mi"),
    ("pods", "deploy/kustomize/overlays/statefulset/statefulset.yaml", "mountPath: /var/lib/tapfan", "mountPath: /spool", "not directly in the folder"),
    ("pods", "deploy/kustomize/base/deployment.yaml", "        fsGroup: 65532", "", "cannot write to the spool"),
    ("pods", "deploy/helm/tapfan/templates/workload.yaml", "mountPath: {{ .Values.spool.mountPath }}", "mountPath: /spool", "not directly in the folder"),
    ("pods", "deploy/kustomize/base/service.yaml", "targetPort: probes", "targetPort: prober", "prober"),
    ("pods", "deploy/kustomize/base/deployment.yaml", "path: /livez", "path: /readyz", "livenessProbe"),
    ("monitors", "deploy/monitoring/servicemonitor.yaml", "component: metrics", "component: metric", "selects nothing"),
    ("monitors", "deploy/monitoring/podmonitor.yaml", "port: tapfan-probes", "port: probes", "no port probes"),
    ("types", "deploy/monitoring/podmonitor.yaml", "relabelings:", "relabeling:", "relabeling"),
    ("types", "deploy/monitoring/dashboard.json", '"gridPos"', '"gridPosition"', "gridPosition"),
    ("rules", "deploy/monitoring/rules.yaml", "sum by (namespace, job, sink) (", "sum by (namespace, job, sink (", "parse"),
    ("rules", "deploy/monitoring/rules.yaml", "severity: critical", "severity: warning", "--write"),
    ("rules", "deploy/monitoring/dashboard.json", '"Queue"', '"Queues"', "chart's dashboard.json"),
    ("alerts", "deploy/monitoring/rules.yaml", "expr: tapfan_sink_up == 0", "expr: tapfan_sink_up == 2", "TapfanSinkDown"),
    ("alerts", "deploy/monitoring/rules.yaml", "        for: 2m", "        for: 2h", "TapfanDropsFast"),
    ("alerts", "deploy/monitoring/rules.yaml", "alert: TapfanNoInput", "alert: TapfanSilent", "TapfanSilent"),
    ("runbook", "deploy/helm/tapfan/templates/prometheusrule.yaml", "runbook_url: %s#", "runbook: %s#", "no link to"),
    ("runbook", "docs/runbook.md", "## TapfanSinkDown", "## TapfanSinkGone", "TapfanSinkDown"),
    ("dashboard", "deploy/monitoring/dashboard.json", "sum by (sink, reason)", "sum by sink, reason)", "parse"),
    ("tapfiles", "deploy/kustomize/components/sidecar/Tapfile", "listen unix://", "listen unyx://", "unyx"),
    ("tapfiles", "deploy/helm/tapfan/ci/everything.yaml", "key /etc/tapfan-tls", "kee /etc/tapfan-tls", "kee"),
    ("probes", "deploy/kustomize/base/deployment.yaml", "path: /livez", "path: /liveness", "/liveness: 404"),
    ("probes", "deploy/kustomize/components/sidecar/Tapfile", "probes 0.0.0.0:9181", "", "nothing listens at port tapfan-probes"),
    ("probes", "deploy/kustomize/base/deployment.yaml", "containerPort: 6000", "containerPort: 6001", "6001"),
    ("probes", "deploy/kustomize/base/deployment.yaml", "--log-level=info", "--loglevel=info", "--loglevel"),
    ("tests", "deploy/helm/tapfan/templates/tests/test.yaml", "- check\n", "- chek\n", "chek"),
    ("tapfiles", "deploy/kustomize/overlays/statefulset/Tapfile", "8GiB", "8GB", "8GB"),
    ("tests", "deploy/helm/tapfan/templates/tests/test.yaml", "AAAAAAAAACIAAAAC", "AAAAAAAAACIAAAAD", "empty.fstrm"),
    ("tests", "deploy/helm/tapfan/templates/tests/test.yaml", ".svc:{{ . }}", ".svc:{{ add . 1 }}", "no Service"),
    ("tests", "deploy/helm/tapfan/templates/_helpers.tpl", '" . }}-test', '" . }}', "also leads to"),
    ("metrics", "deploy/monitoring/rules.yaml", "tapfan_sink_up", "tapfan_sink_is_up", "no metric tapfan_sink_is_up"),
    ("metrics", "deploy/monitoring/rules.yaml", '"rotated|', '"rotaded|', "has no reason rotaded"),
    ("metrics", "deploy/monitoring/rules.yaml", "by (namespace, job, listener)", "by (listen)", "has a label listen"),
    ("metrics", "deploy/monitoring/dashboard.json", "process_open_fds", "process_fds", "no metric process_fds"),
]

# Further files from which the packages and their SBOM are made. No entry of BREAKS changes them.
LINKED = ("CHANGELOG.md", "Cargo.lock", "LICENSE", "README.md", "benches", "build.rs", "examples", "src", "tests")


def cases(tree, problems):
    """A case for each break: its name, and a function that returns problems if the check does not find it."""
    for check, path, there, instead, word in BREAKS:
        name = f"broken: {check}: {Path(path).name}: {there!r} becomes {instead!r}"
        yield name, partial(judge, tree, problems, check, path, there, instead, word)


def judge(tree, problems, check, path, there, instead, word):
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(tree.deploy, copy / "deploy")
        for name in (".github", "docs"):
            shutil.copytree(tree.root / name, copy / name)
        shutil.copy(tree.root / "Cargo.toml", copy)
        for name in LINKED:
            (copy / name).symlink_to(tree.root / name)
        file = copy / path
        text = file.read_text()
        if there not in text:
            return [f"{path} no longer contains {there!r}: nothing was broken"]
        file.write_text(text.replace(there, instead))
        broken = Tree(copy, tree.tapfan)
        if check not in ("rules", "yaml"):
            monitoring.write(broken)
        found = problems(check, broken)
    if not found:
        return ["the check finds no problem"]
    if not any(word in problem for problem in found):
        return [f"the check does not mention {word!r}:", *found]
    return []

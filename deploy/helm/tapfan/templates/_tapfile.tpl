{{/*
Compares the Tapfile with the values. Each difference found here would otherwise show only as a Pod that is never ready,
or as a port that does not answer. This template cannot read imported files and the values of variables. If a Tapfile
has them, the template reports only differences that are certain.
*/}}

{{/* The Tapfile without comments. */}}
{{- define "tapfan.tapfile" -}}
{{- regexReplaceAll `(?m)#.*$` .Values.tapfile "" -}}
{{- end -}}

{{/* The ports of the `listen` lines with this scheme at addresses that other Pods can reach, as JSON: {"ports": […]}. */}}
{{- define "tapfan.listenPorts" -}}
{{- $ports := list -}}
{{- $lines := regexFindAll (printf `(?m)^\s*listen\s+"?%s://[^\s"]+` .scheme) (include "tapfan.tapfile" .root) -1 -}}
{{- range $lines -}}
{{- $port := regexFind `:[0-9]+$` . -}}
{{- if and $port (not (regexMatch `//(127\.|\[::1\])` .)) -}}
{{- $ports = append $ports (int (trimPrefix ":" $port)) -}}
{{- end -}}
{{- end -}}
{{- dict "ports" $ports | toJson -}}
{{- end -}}

{{/* The seconds of the `drain` line, rounded up. */}}
{{- define "tapfan.drain" -}}
{{- $lines := regexFindAll `(?m)^\s*drain\s+"?[0-9hms]+` (include "tapfan.tapfile" .) -1 -}}
{{- $time := "10s" -}}
{{- if $lines -}}
{{- $time = regexFind `[0-9hms]+$` (last $lines) -}}
{{- end -}}
{{- $rest := regexReplaceAll `[0-9]+ms` $time "" -}}
{{- $seconds := ternary 0 1 (eq $rest $time) -}}
{{- $seconds = add $seconds (regexFind `[0-9]+s` $rest | trimSuffix "s" | int) -}}
{{- $seconds = add $seconds (mul 60 (regexFind `[0-9]+m` $rest | trimSuffix "m" | int)) -}}
{{- $seconds = add $seconds (mul 3600 (regexFind `[0-9]+h` $rest | trimSuffix "h" | int)) -}}
{{- $seconds -}}
{{- end -}}

{{/* The `spool` lines, as JSON: {"spools": ["DIR SIZE", …]}. Lines with variables are left out. */}}
{{- define "tapfan.spools" -}}
{{- $spools := list -}}
{{- $pattern := `(?m)(?:^|\{)[ \t]*spool[ \t]+"?([^\s"{]+)"?[ \t]+"?([0-9]+(?:[KMG]iB)?)"?(?:[ \t{}]|$)` -}}
{{- range regexFindAll $pattern (include "tapfan.tapfile" .) -1 -}}
{{- $spools = append $spools (regexReplaceAll $pattern . "$1 $2") -}}
{{- end -}}
{{- dict "spools" $spools | toJson -}}
{{- end -}}

{{/* The bytes of a size of the Tapfile, such as 8GiB, or of a quantity of Kubernetes, such as 8Gi or 8G. */}}
{{- define "tapfan.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mul (regexFind `^[0-9]+` .) (get $units (regexFind `[kKMGT]i?` .)) -}}
{{- end -}}

{{- define "tapfan.validate" -}}
{{- if .Values.existingConfigMap -}}
{{- if .Values.tapfile -}}
{{- fail "The values tapfile and existingConfigMap are both set: set only one of them." -}}
{{- end -}}
{{- else if not .Values.tapfile -}}
{{- fail "There is no Tapfile: use --set-file tapfile=./Tapfile, or set existingConfigMap to the name of a ConfigMap with the key Tapfile." -}}
{{- else -}}
{{- include "tapfan.validateProbes" . -}}
{{- include "tapfan.validateListeners" . -}}
{{- include "tapfan.validateGrace" . -}}
{{- include "tapfan.validateSpools" . -}}
{{- end -}}
{{- include "tapfan.validateSpoolVolume" . -}}
{{- include "tapfan.validateService" . -}}
{{- end -}}

{{- define "tapfan.validateProbes" -}}
{{- $text := include "tapfan.tapfile" . -}}
{{- $lines := regexFindAll `(?m)^\s*probes\s+[^\s{]+` $text -1 -}}
{{- if $lines -}}
{{- $line := last $lines -}}
{{- $port := regexFind `:[0-9]+"?$` $line | trimPrefix ":" | trimSuffix `"` -}}
{{- if regexMatch `probes\s+"?(127\.|\[::1\])` $line -}}
{{- fail (printf "The `probes` line of the Tapfile is on loopback, which the kubelet cannot reach: write `probes 0.0.0.0:%d`, or `probes [::]:%d` with IPv6." (int .Values.probesPort) (int .Values.probesPort)) -}}
{{- end -}}
{{- if and $port (ne (int $port) (int .Values.probesPort)) -}}
{{- fail (printf "The `probes` line of the Tapfile has port %s, but the value probesPort is %d: make them equal." $port (int .Values.probesPort)) -}}
{{- end -}}
{{- else if not (regexMatch `(?m)^\s*(import\s|probes\s)` $text) -}}
{{- fail (printf "The Tapfile has no `probes` line, so the kubelet could not check whether tapfan runs: add `probes 0.0.0.0:%d`." (int .Values.probesPort)) -}}
{{- end -}}
{{- end -}}

{{- define "tapfan.validateListeners" -}}
{{- if eq .Values.mode "deployment" -}}
{{- include "tapfan.validatePorts" . -}}
{{- else -}}
{{- include "tapfan.validateSocket" . -}}
{{- end -}}
{{- end -}}

{{/* Refuses a DaemonSet without a socket in a folder of the node: no Service leads to its ports. */}}
{{- define "tapfan.validateSocket" -}}
{{- $text := include "tapfan.tapfile" . -}}
{{- $unclear := regexMatch `(?m)^\s*(import\s|listen\s+\S*\{[$%])` $text -}}
{{- $mounted := regexMatch `(?m)^\s*listen\s+"?(unix://)?/run/tapfan/` $text -}}
{{- range .Values.extraVolumeMounts -}}
{{- $mounted = or $mounted (regexMatch (printf `(?m)^\s*listen\s+"?(unix://)?%s/` (.mountPath | trimSuffix "/" | regexQuoteMeta)) $text) -}}
{{- end -}}
{{- if not (or $unclear $mounted .Values.hostNetwork) -}}
{{- fail "The value mode is daemonset, but no `listen` line of the Tapfile has a socket in a folder of the node, and no Service leads to the ports of a DaemonSet: add `listen unix:///run/tapfan/dnstap.sock`, or set mode to deployment." -}}
{{- end -}}
{{- end -}}

{{/* Refuses ports that only the Tapfile or only the value listeners has. */}}
{{- define "tapfan.validatePorts" -}}
{{- $text := include "tapfan.tapfile" . -}}
{{- $ports := (include "tapfan.listenPorts" (dict "root" . "scheme" "(?:tcp|tls)") | fromJson).ports -}}
{{- $there := list -}}
{{- range $ports -}}
{{- $there = append $there (int .) -}}
{{- end -}}
{{- $named := list -}}
{{- range .Values.listeners -}}
{{- $named = append $named (int .port) -}}
{{- $unclear := regexMatch `(?m)^\s*(import\s|listen\s+\S*\{[$%])` $text -}}
{{- if not (or $unclear (has (int .port) $there)) -}}
{{- fail (printf "The value listeners has port %d (%s), but no `listen` line of the Tapfile has this port at an address that other Pods can reach: correct one of them." (int .port) .name) -}}
{{- end -}}
{{- end -}}
{{- range $there -}}
{{- if not (has . $named) -}}
{{- fail (printf "The Tapfile listens at port %d, which the value listeners does not have, so DNS servers could not connect to this port through the Service: add the port to listeners." .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tapfan.validateGrace" -}}
{{- $stop := ternary (int .Values.preStopSeconds) 0 (eq .Values.mode "deployment") -}}
{{- $drain := include "tapfan.drain" . | int -}}
{{- if le (int .Values.terminationGracePeriodSeconds) (add $stop $drain 2 | int) -}}
{{- fail (printf "The value terminationGracePeriodSeconds is %d, which is not longer than %d s of preStopSeconds, %d s of `drain` and 2 s: Kubernetes would kill tapfan while it drains. Raise it." (int .Values.terminationGracePeriodSeconds) $stop $drain) -}}
{{- end -}}
{{- end -}}

{{/* Refuses a spool in a folder that is not on the volume, because the root of the container is read-only, and a volume that is
too small. */}}
{{- define "tapfan.validateSpools" -}}
{{- $needed := 0 -}}
{{- $lines := (include "tapfan.spools" . | fromJson).spools -}}
{{- range $lines -}}
{{- $folder := splitList " " . | first | trimSuffix "/" -}}
{{- $size := splitList " " . | last -}}
{{- $mounted := false -}}
{{- range $.Values.extraVolumeMounts -}}
{{- $mounted = or $mounted (hasPrefix (printf "%s/" .mountPath) (printf "%s/" $folder)) -}}
{{- end -}}
{{- if not $mounted -}}
{{- if not $.Values.spool.enabled -}}
{{- fail (printf "The Tapfile has `spool %s`, but there is no volume for this folder: set spool.enabled to true." .) -}}
{{- end -}}
{{- if ne (dir $folder) $.Values.spool.mountPath -}}
{{- fail (printf "The Tapfile has `spool %s`, but the volume for spools is mounted at %s: name a folder directly below it, such as %s/NAME, or change spool.mountPath." . $.Values.spool.mountPath $.Values.spool.mountPath) -}}
{{- end -}}
{{- $needed = add $needed (include "tapfan.bytes" $size) 268435456 -}}
{{- end -}}
{{- end -}}
{{- if and $needed (ne (include "tapfan.spoolVolume" .) "hostPath") (gt (int64 $needed) (include "tapfan.bytes" .Values.spool.size | int64)) -}}
{{- fail (printf "The value spool.size is %s, but the `spool` lines of the Tapfile need at least %dMi: SIZE and 256 MiB for each spool. Raise spool.size, or lower SIZE." .Values.spool.size (div (add $needed 1048575) 1048576)) -}}
{{- end -}}
{{- end -}}

{{/* Refuses volumes that cannot keep frames of this mode, and names the values. */}}
{{- define "tapfan.validateSpoolVolume" -}}
{{- $volume := include "tapfan.spoolVolume" . -}}
{{- if and (eq $volume "claim") (eq .Values.mode "daemonset") -}}
{{- fail "The value spool.volume is claim, which a DaemonSet cannot have: use hostPath or emptyDir." -}}
{{- end -}}
{{- if and (eq $volume "hostPath") (ne .Values.mode "daemonset") -}}
{{- fail "The value spool.volume is hostPath, but two Pods of a Deployment on one node would use the same folder: use claim or emptyDir." -}}
{{- end -}}
{{- if and (eq $volume "claim") (eq (.Values.updateStrategy.type | default "") "Recreate") -}}
{{- fail "The value updateStrategy.type is Recreate, which a StatefulSet does not have: use RollingUpdate or OnDelete." -}}
{{- end -}}
{{- end -}}

{{/* Refuses values of the Service that the API server would refuse, and names the values. */}}
{{- define "tapfan.validateService" -}}
{{- if eq .Values.mode "deployment" -}}
{{- $type := .Values.service.type -}}
{{- if ne $type "LoadBalancer" -}}
{{- range list "loadBalancerClass" "loadBalancerSourceRanges" -}}
{{- if get $.Values.service . -}}
{{- fail (printf "The value service.%s needs service.type LoadBalancer." .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq $type "ClusterIP" -}}
{{- if .Values.service.externalTrafficPolicy -}}
{{- fail "The value service.externalTrafficPolicy needs service.type NodePort or LoadBalancer." -}}
{{- end -}}
{{- range .Values.listeners -}}
{{- if .nodePort -}}
{{- fail "The value listeners has a nodePort, which needs service.type NodePort or LoadBalancer." -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

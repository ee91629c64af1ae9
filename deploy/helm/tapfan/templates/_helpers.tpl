{{/* At most 52 characters, because Kubernetes makes a label of the name of a StatefulSet, and the label is 11 characters
longer. No label and no name of a Service may have more than 63. */}}
{{- define "tapfan.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tapfan.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 58 | trimSuffix "-" -}}
{{- end -}}

{{- define "tapfan.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tapfan.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The labels of every object, without those that select the Pods. */}}
{{- define "tapfan.commonLabels" -}}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "tapfan.labels" -}}
{{ include "tapfan.selectorLabels" . }}
{{ include "tapfan.commonLabels" . }}
{{- end -}}

{{/* The labels of the Pods of `helm test`. They differ from those that Services and NetworkPolicies select. */}}
{{- define "tapfan.testLabels" -}}
app.kubernetes.io/name: {{ include "tapfan.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The kind of volume for the spools: claim, emptyDir or hostPath; empty if spools are off. */}}
{{- define "tapfan.spoolVolume" -}}
{{- if .Values.spool.enabled -}}
{{- .Values.spool.volume | default (ternary "hostPath" "claim" (eq .Values.mode "daemonset")) -}}
{{- end -}}
{{- end -}}

{{/* The kind of the object that makes the Pods. */}}
{{- define "tapfan.kind" -}}
{{- if eq .Values.mode "daemonset" -}}
DaemonSet
{{- else if eq (include "tapfan.spoolVolume" .) "claim" -}}
StatefulSet
{{- else -}}
Deployment
{{- end -}}
{{- end -}}

{{- define "tapfan.image" -}}
{{- $repository := required "The value image.repository is empty: set it to the repository of your image, see docs/kubernetes.md." .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "tapfan.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "tapfan.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* OpenShift's policy `restricted` assigns the user and the groups of a Pod, and refuses any other user or group. A
DaemonSet must run as user 65532 to write to the folder on the host, so it needs another policy. */}}
{{- define "tapfan.podSecurityContext" -}}
{{- $openshift := .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
{{- if and $openshift (eq .Values.mode "deployment") -}}
{{- omit .Values.podSecurityContext "runAsUser" "runAsGroup" "fsGroup" | toYaml -}}
{{- else -}}
{{- toYaml .Values.podSecurityContext -}}
{{- end -}}
{{- end -}}

{{/* The environment of the container. */}}
{{- define "tapfan.environment" -}}
{{- with .Values.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "tapfan.volumeMounts" -}}
# Mounted as a folder, because a file mounted with subPath would never change.
- name: config
  mountPath: /etc/tapfan
  readOnly: true
{{- range $index, $secret := .Values.secrets }}
- name: secret-{{ $index }}
  mountPath: {{ $secret.mountPath }}
  readOnly: true
{{- end }}
{{- range $index, $map := .Values.configMaps }}
- name: config-map-{{ $index }}
  mountPath: {{ $map.mountPath }}
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "tapfan.volumes" -}}
- name: config
  configMap:
    name: {{ .Values.existingConfigMap | default (include "tapfan.fullname" .) }}
{{- range $index, $secret := .Values.secrets }}
- name: secret-{{ $index }}
  secret:
    secretName: {{ $secret.name }}
    # The group of fsGroup can read the files.
    defaultMode: 0440
{{- end }}
{{- range $index, $map := .Values.configMaps }}
- name: config-map-{{ $index }}
  configMap:
    name: {{ $map.name }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The IP families of a Service. */}}
{{- define "tapfan.families" -}}
{{- with .Values.service.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .Values.service.ipFamilies }}
ipFamilies:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

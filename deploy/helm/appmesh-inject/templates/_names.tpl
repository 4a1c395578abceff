{{- define "appmesh-inject.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* As AWS's chart names its objects: a release that contains the chart's name is named by it alone. */}}
{{- define "appmesh-inject.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/*
The API server asks configurations in the order of their names: this one before that of the chart appmesh-controller,
which then finds the pod injected.
*/}}
{{- define "appmesh-inject.configuration" -}}
app-mesh-inject-{{ .Release.Namespace }}
{{- end -}}

{{- define "appmesh-inject.selector" -}}
app.kubernetes.io/name: {{ include "appmesh-inject.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "appmesh-inject.labels" -}}
{{ include "appmesh-inject.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "appmesh-inject.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "appmesh-inject.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* Where sidecars get their configuration. */}}
{{- define "appmesh-inject.xds" -}}
{{- if .Values.server.xds -}}
{{- .Values.server.xds -}}
{{- else if .Values.server.url -}}
{{- (urlParse .Values.server.url).hostname }}:18000
{{- else -}}
appmesh-controller-server.{{ .Release.Namespace }}.svc:18000
{{- end -}}
{{- end -}}

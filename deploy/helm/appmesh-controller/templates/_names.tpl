{{- define "appmesh-controller.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* As AWS's chart names its objects: a release that contains the chart's name is named by it alone. */}}
{{- define "appmesh-controller.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "appmesh-controller.labels" -}}
app.kubernetes.io/name: {{ include "appmesh-controller.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "appmesh-controller.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "appmesh-controller.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "appmesh-controller.webhookServiceAccountName" -}}
{{- .Values.webhook.serviceAccount.name | default (printf "%s-webhook" (include "appmesh-controller.fullname" .)) -}}
{{- end -}}

{{/* The account of the release's own server. */}}
{{- define "appmesh-controller.account" -}}
{{- if .Values.accountId -}}{{- include "tombolo.accountId" . -}}{{- else -}}111122223333{{- end -}}
{{- end -}}

{{/* The APIs of the control plane. */}}
{{- define "appmesh-controller.endpoint" -}}
{{- if .Values.server.url -}}
{{- .Values.server.url -}}
{{- else -}}
{{- .Values.server.tlsSecret | empty | ternary "http" "https" }}://{{ include "appmesh-controller.fullname" . }}-server.{{ .Release.Namespace }}.svc:8490
{{- end -}}
{{- end -}}

{{/* What a container needs of the restricted pod security standard. */}}
{{- define "appmesh-controller.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
{{- end -}}

{{- define "appmesh-controller.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Where pods go. */}}
{{- define "appmesh-controller.scheduling" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where sidecars get their configuration. */}}
{{- define "appmesh-controller.xds" -}}
{{- if .Values.server.xds -}}
{{- .Values.server.xds -}}
{{- else if .Values.server.url -}}
{{- (urlParse .Values.server.url).hostname }}:18000
{{- else -}}
{{- include "appmesh-controller.fullname" . }}-server.{{ .Release.Namespace }}.svc:18000
{{- end -}}
{{- end -}}

{{/* What all webhooks have in common; takes the root and the path. */}}
{{- define "appmesh-controller.hook" -}}
{{- $root := index . 0 -}}
admissionReviewVersions: [v1]
sideEffects: None
# The schema refuses the version before, with advice: it is not asked about.
matchPolicy: Exact
timeoutSeconds: {{ int64 $root.Values.webhook.timeoutSeconds }}
clientConfig:
  service:
    name: {{ include "appmesh-controller.fullname" $root }}-webhook-service
    namespace: {{ $root.Release.Namespace }}
    path: {{ index . 1 }}
    port: 443
{{- end -}}

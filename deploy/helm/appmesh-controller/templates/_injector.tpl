{{/* Shared with the chart appmesh-inject: what both take from their values for whoever injects. */}}

{{- define "tombolo.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "tombolo.sidecarImage" -}}
{{- $image := .Values.sidecar.image -}}
{{- if or $image.repository $image.tag -}}
{{- $image.repository | default .Values.image.repository }}:{{ $image.tag | default .Chart.AppVersion -}}
{{- else if eq .Values.sidecar.proxy "envoy" -}}
public.ecr.aws/appmesh/aws-appmesh-envoy:v1.34.13.3-prod
{{- else -}}
{{- include "tombolo.image" . -}}
{{- end -}}
{{- end -}}

{{- define "tombolo.initImage" -}}
{{- $image := .Values.init.image -}}
{{- if or $image.repository $image.tag -}}
{{- $image.repository | default .Values.image.repository }}:{{ $image.tag | default .Chart.AppVersion -}}
{{- else -}}
{{- include "tombolo.image" . -}}
{{- end -}}
{{- end -}}

{{/* Twelve digits, from a text or from a number that `--set` or a values file made of them. */}}
{{- define "tombolo.accountId" -}}
{{- if kindIs "float64" .Values.accountId -}}
{{- printf "%012.0f" .Values.accountId -}}
{{- else if kindIs "string" .Values.accountId -}}
{{- .Values.accountId -}}
{{- else -}}
{{- printf "%012d" .Values.accountId -}}
{{- end -}}
{{- end -}}

{{/* Region, account and cluster. */}}
{{- define "tombolo.identityArgs" -}}
{{- with .Values.region }}
- --aws-region={{ . }}
{{- end }}
{{- if .Values.accountId }}
- --aws-account-id={{ include "tombolo.accountId" . }}
{{- end }}
{{- with .Values.clusterName }}
- --cluster-name={{ . }}
{{- end }}
{{- end -}}

{{/* Arguments about sidecars, with the names of AWS's controller. */}}
{{- define "tombolo.injectorArgs" -}}
- --sidecar-proxy={{ .Values.sidecar.proxy }}
- --sidecar-image={{ include "tombolo.sidecarImage" . }}
- --tombolo-image={{ include "tombolo.image" . }}
- --init-image={{ include "tombolo.initImage" . }}
- --sidecar-log-level={{ .Values.sidecar.logLevel }}
{{- with .Values.sidecar.resources }}
- --sidecar-cpu-requests={{ .requests.cpu }}
- --sidecar-memory-requests={{ .requests.memory }}
{{- with .limits }}
{{- with .cpu }}
- --sidecar-cpu-limits={{ . }}
{{- end }}
{{- with .memory }}
- --sidecar-memory-limits={{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.sidecar.lifecycleHooks }}
- --prestop-delay={{ int64 .preStopDelay }}
- --poststart-timeout={{ int64 .postStartTimeout }}
- --poststart-interval={{ int64 .postStartInterval }}
{{- end }}
{{- with .Values.sidecar.probes }}
- --readiness-probe-initial-delay={{ int64 .readinessProbeInitialDelay }}
- --readiness-probe-period={{ int64 .readinessProbePeriod }}
{{- end }}
- --envoy-admin-access-port={{ int64 .Values.sidecar.envoyAdminAccessPort }}
- --envoy-admin-access-log-file={{ .Values.sidecar.envoyAdminAccessLogFile }}
- --envoy-admin-access-enable-ipv6={{ .Values.sidecar.envoyAdminAccessEnableIPv6 }}
- --dual-stack-endpoint={{ .Values.sidecar.useDualStackEndpoint }}
- --fips-endpoint={{ .Values.sidecar.useFipsEndpoint }}
- --wait-until-proxy-ready={{ .Values.sidecar.waitUntilProxyReady }}
- --preview={{ .Values.preview }}
{{- if .Values.sds.enabled }}
- --enable-sds=true
- --sds-uds-path={{ .Values.sds.udsPath }}
{{- end }}
- --enable-stats-tags={{ .Values.stats.tagsEnabled }}
{{- if .Values.stats.statsdEnabled }}
- --enable-statsd=true
- --statsd-address={{ .Values.stats.statsdAddress }}
- --statsd-port={{ int64 .Values.stats.statsdPort }}
{{- with .Values.stats.statsdSocketPath }}
- --statsd-socket-path={{ . }}
{{- end }}
{{- end }}
{{- if .Values.tracing.enabled }}
{{- if eq .Values.tracing.provider "x-ray" }}
- --enable-xray-tracing=true
- --xray-image={{ .Values.xray.image.repository }}:{{ .Values.xray.image.tag }}
- --xray-daemon-port={{ int64 .Values.tracing.port }}
- --xray-sampling-rate={{ .Values.tracing.samplingRate }}
- --xray-log-level={{ .Values.tracing.logLevel }}
{{- with .Values.tracing.role }}
- --xray-config-roleArn={{ . }}
{{- end }}
{{- else if or (eq .Values.tracing.provider "jaeger") (eq .Values.tracing.provider "datadog") }}
- --enable-{{ .Values.tracing.provider }}-tracing=true
- --{{ .Values.tracing.provider }}-address={{ .Values.tracing.address }}
- --{{ .Values.tracing.provider }}-port={{ int64 .Values.tracing.port }}
{{- else }}
{{- fail (printf "tracing.provider is %q; it can be x-ray, jaeger or datadog" .Values.tracing.provider) }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
The webhooks for pods: closed where injection is on, open where a pod may ask for it. Never for what a cluster needs to
come up, nor for the webhook itself. Takes the names' prefix, the release's namespace and what all webhooks have.
*/}}
{{- define "tombolo.podHooks" -}}
{{- $ := . -}}
{{- range $switch, $policy := dict "enabled" "Fail" "disabled" "Ignore" }}
- name: {{ $.prefix }}{{ eq $switch "enabled" | ternary "" "-optional" }}.appmesh.k8s.aws
  failurePolicy: {{ $policy }}
  reinvocationPolicy: IfNeeded
  {{- $.hook | nindent 2 }}
  namespaceSelector:
    matchExpressions:
      - key: appmesh.k8s.aws/sidecarInjectorWebhook
        operator: In
        values: [{{ $switch }}]
      - key: kubernetes.io/metadata.name
        operator: NotIn
        values: [kube-system, {{ $.namespace }}]
  rules:
    - apiGroups: [""]
      apiVersions: [v1]
      operations: [CREATE]
      resources: [pods]
      scope: Namespaced
{{- end }}
{{- end -}}

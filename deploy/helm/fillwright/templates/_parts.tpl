{{/* Names and labels. `role` is api, worker or simchain; called with (dict "root" $ "role" "api"). */}}
{{- define "fillwright.name" -}}
{{ printf "%s-%s" .root.Release.Name .role | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "fillwright.selector" -}}
app.kubernetes.io/name: fillwright
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "fillwright.labels" -}}
{{ include "fillwright.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* Every pod: nobody in particular, allowed nothing. */}}
{{- define "fillwright.pod" -}}
automountServiceAccountToken: false
# A service called fillwright or redis would put FILLWRIGHT_PORT or REDIS_PORT into the environment: not our settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "fillwright.container" -}}
image: {{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}

{{/* Startup may wait for another pod's migration; readiness follows the database; only a stuck process is restarted. */}}
{{- define "fillwright.probes" -}}
startupProbe:
  httpGet: { path: /startupz, port: http }
  periodSeconds: 2
  failureThreshold: 90
readinessProbe:
  httpGet: { path: /readyz, port: http }
  periodSeconds: 3
  timeoutSeconds: 3
  failureThreshold: 2
livenessProbe:
  httpGet: { path: /livez, port: http }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{- define "fillwright.env" -}}
- name: DATABASE_URL
  valueFrom: { secretKeyRef: { name: {{ .Values.secretName | quote }}, key: DATABASE_URL } }
- name: REDIS_URL
  valueFrom: { secretKeyRef: { name: {{ .Values.secretName | quote }}, key: REDIS_URL, optional: true } }
- name: FILLWRIGHT_CHAIN
  {{- if .Values.simchain.enabled }}
  value: {{ printf "http://%s:8899" (include "fillwright.name" (dict "root" . "role" "simchain")) | quote }}
  {{- else }}
  value: {{ required "chainUrl is needed where simchain.enabled is false" .Values.chainUrl | quote }}
  {{- end }}
- name: FILLWRIGHT_DRAIN_S
  value: {{ .Values.drain.seconds | quote }}
{{- range $name, $value := .Values.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* The orders are in PostgreSQL and the chain is elsewhere: what these pods write may go with them. */}}
{{- define "fillwright.scratch" -}}
- { name: tmp, emptyDir: { medium: Memory, sizeLimit: 16Mi } }
- { name: data, emptyDir: { sizeLimit: 64Mi } }
{{- end }}

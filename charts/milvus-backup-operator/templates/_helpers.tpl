{{- define "mbo.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "mbo.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mbo.labels" -}}
{{ include "mbo.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "mbo.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The operator's rights over the kinds, Jobs and pods: one file, read by a test that compares it with the code. */ -}}
{{- define "mbo.rules" -}}
{{- .Files.Get "files/rules.yaml" -}}
{{- end -}}

{{- /* The REST API has a name of its own: the operator's Deployment and Service must not select its pod. */ -}}
{{- define "mbo.compatApi.fullname" -}}
{{- include "mbo.fullname" . }}-compat-api
{{- end -}}

{{- define "mbo.compatApi.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-compat-api
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mbo.compatApi.labels" -}}
{{ include "mbo.compatApi.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

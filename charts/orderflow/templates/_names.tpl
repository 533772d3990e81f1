{{- define "orderflow.name" -}}
{{- if contains "orderflow" .Release.Name -}}{{ .Release.Name }}{{- else -}}{{ .Release.Name }}-orderflow{{- end -}}
{{- end -}}

{{- define "orderflow.selector" -}}
app.kubernetes.io/name: orderflow-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "orderflow.labels" -}}
{{ include "orderflow.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "orderflow.account" -}}
{{- .Values.serviceAccount.name | default (ternary (include "orderflow.name" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "orderflow.operator-image" -}}
{{ .Values.image.operator.repository }}:{{ .Values.image.operator.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "orderflow.processors-image" -}}
{{ .Values.image.processors.repository }}:{{ .Values.image.processors.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "orderflow.pull-secrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- /* What the restricted Pod Security Standard asks of a container, and a file system that nobody writes to. */ -}}
{{- define "orderflow.container-security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "orderflow.pod-security" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "routewright.selector" -}}
app.kubernetes.io/name: routewright
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- define "routewright.labels" -}}
app.kubernetes.io/name: routewright
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

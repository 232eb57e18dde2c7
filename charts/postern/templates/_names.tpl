{{/* The name of everything in this release: "postern" for a release of that name. */}}
{{- define "postern.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "postern.serviceAccount" -}}
{{- default (include "postern.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "postern.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "postern.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "postern.labels" -}}
{{ include "postern.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* The lists of namespaces, as JSON objects {"items": [...]}: empty means the release's own. */}}
{{- define "postern.gatewayNamespaces" -}}
{{- dict "items" (default (list .Release.Namespace) .Values.gatewayNamespaces | uniq) | toJson -}}
{{- end -}}
{{- define "postern.secretNamespaces" -}}
{{- dict "items" (default (list .Release.Namespace) .Values.secretNamespaces | uniq) | toJson -}}
{{- end -}}

{{/* Binds the ClusterRole .role to the operator in .namespaces, or everywhere for ["*"]. */}}
{{- define "postern.bind" -}}
{{- $root := .root -}}
{{- $role := .role -}}
{{- $everywhere := has "*" .namespaces -}}
{{- range (ternary (list "*") .namespaces $everywhere) }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "ClusterRoleBinding" "RoleBinding" $everywhere }}
metadata:
  name: {{ $role }}
  {{- if not $everywhere }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "postern.labels" $root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $role }}
subjects:
  - kind: ServiceAccount
    name: {{ include "postern.serviceAccount" $root }}
    namespace: {{ $root.Release.Namespace }}
{{- end }}
{{- end -}}

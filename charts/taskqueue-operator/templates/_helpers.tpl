{{- define "taskqueue.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{- define "taskqueue.fullname" -}}
{{- $name := include "taskqueue.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Cluster-scoped names contain the namespace: two namespaces may have releases of the same name. */}}
{{- define "taskqueue.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "taskqueue.fullname" .) -}}
{{- end -}}

{{/* Differs from the name of the Role in a watched namespace, which may be the namespace of the release. */}}
{{- define "taskqueue.leaseName" -}}
{{- printf "%s-lease" (include "taskqueue.fullname" .) -}}
{{- end -}}

{{- define "taskqueue.selector" -}}
app.kubernetes.io/name: {{ include "taskqueue.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "taskqueue.labels" -}}
{{ include "taskqueue.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "taskqueue.image" -}}
{{- $repository := required "image.repository is empty. Set it: --set image.repository=REGISTRY/taskqueue-operator" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The permissions that the operator needs, and no others. */}}
{{- define "taskqueue.rules" -}}
- apiGroups: [taskqueue.dev]
  resources: [taskqueues]
  verbs: [list, watch, patch]
- apiGroups: [taskqueue.dev]
  resources: [taskqueues/status]
  verbs: [patch]
- apiGroups: [taskqueue.dev]
  resources: [taskqueues/finalizers]  # required for owner references with blockOwnerDeletion
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]  # to leave alone what one of them scales
  verbs: [list]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods/status]  # to write the deletion cost; it does not allow changes of the spec
  verbs: [patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}

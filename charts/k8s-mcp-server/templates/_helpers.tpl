{{/* The release's name, once. */}}
{{- define "k8s-mcp-server.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "k8s-mcp-server.runnerNamespace" -}}
{{- .Values.runner.namespace | default (printf "%s-runs" (include "k8s-mcp-server.fullname" .)) -}}
{{- end -}}

{{- define "k8s-mcp-server.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end -}}

{{/* The same as kubectl wants it. */}}
{{- define "k8s-mcp-server.selectorWords" -}}
{{- $words := list -}}
{{- range $label, $value := include "k8s-mcp-server.selector" . | fromYaml -}}
{{- $words = append $words (printf "%s=%s" $label $value) -}}
{{- end -}}
{{- join "," $words -}}
{{- end -}}

{{/* Not `managed-by: k8s-mcp-server`: that is what the service itself puts on its objects, and `k8s-mcp clean` removes. */}}
{{- define "k8s-mcp-server.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: k8s-mcp-server
{{- end -}}

{{/* image, of (list VALUES ROOT) */}}
{{- define "k8s-mcp-server.image" -}}
{{- $image := index . 0 -}}
{{- $root := index . 1 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default $root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "k8s-mcp-server.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Pod Security Standard restricted, and a read-only root. */}}
{{- define "k8s-mcp-server.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}
{{- define "k8s-mcp-server.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Names under which clients reach the service in this cluster, and those of the Ingress. */}}
{{- define "k8s-mcp-server.hosts" -}}
{{- $name := include "k8s-mcp-server.fullname" . -}}
{{- $namespaced := printf "%s.%s" $name .Release.Namespace -}}
{{- $service := list $name $namespaced (printf "%s.svc" $namespaced) (printf "%s.svc.cluster.local" $namespaced) -}}
{{- concat $service .Values.ingress.hosts (.Values.settings.allowedHosts | default list) | uniq | join "," -}}
{{- end -}}

{{/* One setting as the service reads it from the environment: words with commas between them, anything structured as JSON. */}}
{{- define "k8s-mcp-server.setting" -}}
{{- if kindIs "map" . -}}{{ toJson . }}
{{- else if kindIs "slice" . -}}{{ if and . (kindIs "map" (first .)) }}{{ toJson . }}{{ else }}{{ join "," . }}{{ end }}
{{- else if kindIs "float64" . -}}{{ if eq . (floor .) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{/* The environment of the service, and of whatever else runs its image with its settings. */}}
{{- define "k8s-mcp-server.environment" -}}
{{- range $name, $value := omit .Values.settings "allowedHosts" }}
{{- if not (kindIs "invalid" $value) }}
- name: K8S_MCP_{{ $name | snakecase | upper }}
  value: {{ include "k8s-mcp-server.setting" $value | quote }}
{{- end }}
{{- end }}
- name: K8S_MCP_ALLOWED_HOSTS
  value: {{ include "k8s-mcp-server.hosts" . | quote }}
- name: K8S_MCP_NAMESPACE
  value: {{ include "k8s-mcp-server.runnerNamespace" . }}
- name: K8S_MCP_RUNNER_IMAGE
  value: {{ include "k8s-mcp-server.image" (list .Values.runner.image .) | quote }}
- name: K8S_MCP_RUNNER_IMAGE_PULL_POLICY
  value: {{ .Values.runner.image.pullPolicy }}
{{- with .Values.runner.imagePullSecrets }}
- name: K8S_MCP_RUNNER_IMAGE_PULL_SECRETS
  value: {{ join "," . | quote }}
{{- end }}
- name: K8S_MCP_RUNNER_SERVICE_ACCOUNT
  value: runner
{{- if .Values.auth.insecureNoAuth }}
{{- if or .Values.auth.serviceAccounts.enabled .Values.auth.tokensSecret .Values.settings.oidcIssuer }}
{{- fail "auth.insecureNoAuth is for a service without authentication: set auth.serviceAccounts.enabled to false, and neither auth.tokensSecret nor settings.oidcIssuer" }}
{{- end }}
- name: K8S_MCP_INSECURE_NO_AUTH
  value: "true"
{{- else if not (or .Values.auth.serviceAccounts.enabled .Values.auth.tokensSecret .Values.settings.oidcIssuer) }}
{{- fail "nobody could call: set auth.serviceAccounts.enabled, auth.tokensSecret or settings.oidcIssuer; docs/helm.md says how" }}
{{- end }}
{{- if .Values.auth.serviceAccounts.enabled }}
- name: K8S_MCP_SERVICE_ACCOUNT_AUDIENCE
  value: {{ .Values.auth.serviceAccounts.audience | quote }}
{{- end }}
{{- if include "k8s-mcp-server.tlsSecret" . }}
- name: K8S_MCP_TLS_CERTIFICATE
  value: /etc/k8s-mcp/tls/tls.crt
- name: K8S_MCP_TLS_KEY
  value: /etc/k8s-mcp/tls/tls.key
{{- end }}
{{- if .Values.policy }}
- name: K8S_MCP_POLICY
  value: /etc/k8s-mcp/policy/policy.yaml
{{- end }}
{{- with .Values.history.urlSecret }}
- name: K8S_MCP_HISTORY_URL
  valueFrom:
    secretKeyRef: {name: {{ . }}, key: {{ $.Values.history.urlKey | quote }}}
{{- end }}
{{- if .Values.auth.tokensSecret }}
- name: K8S_MCP_AUTH_TOKENS
  value: /etc/k8s-mcp/tokens
{{- end }}
{{- if .Values.auth.oidcCA.configMap }}
- name: SSL_CERT_FILE
  value: /etc/k8s-mcp/oidc/{{ .Values.auth.oidcCA.key }}
{{- end }}
{{- end -}}

{{/* The Secret with the service's certificate: the operator's, or the one that cert-manager makes; nothing without TLS. */}}
{{- define "k8s-mcp-server.tlsSecret" -}}
{{- if .Values.tls.secretName -}}
{{- .Values.tls.secretName -}}
{{- else if .Values.tls.issuerRef -}}
{{- include "k8s-mcp-server.fullname" . }}-tls
{{- end -}}
{{- end -}}
{{- define "k8s-mcp-server.scheme" -}}
{{- if include "k8s-mcp-server.tlsSecret" . -}}https{{- else -}}http{{- end -}}
{{- end -}}

{{/* Files that the settings name, and a writable /tmp. */}}
{{- define "k8s-mcp-server.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .Values.auth.tokensSecret }}
- {name: tokens, mountPath: /etc/k8s-mcp/tokens, readOnly: true}
{{- end }}
{{- if .Values.auth.oidcCA.configMap }}
- {name: oidc, mountPath: /etc/k8s-mcp/oidc, readOnly: true}
{{- end }}
{{- if .Values.policy }}
- {name: policy, mountPath: /etc/k8s-mcp/policy, readOnly: true}
{{- end }}
{{- if include "k8s-mcp-server.tlsSecret" . }}
- {name: tls, mountPath: /etc/k8s-mcp/tls, readOnly: true}
{{- end }}
{{- end -}}
{{- define "k8s-mcp-server.volumes" -}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
{{- with .Values.auth.tokensSecret }}
- name: tokens
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with .Values.auth.oidcCA.configMap }}
- name: oidc
  configMap: {name: {{ . }}}
{{- end }}
{{- if .Values.policy }}
- name: policy
  configMap: {name: {{ include "k8s-mcp-server.fullname" . }}-policy}
{{- end }}
{{- with include "k8s-mcp-server.tlsSecret" . }}
- name: tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{/* Seconds between the end of a pod's readiness and its SIGTERM, in which proxies and clients learn of it. */}}
{{- define "k8s-mcp-server.preStopSeconds" -}}5{{- end -}}

{{/* Until SIGKILL: that, the time that running commands get, and what the service needs to hand them over. */}}
{{- define "k8s-mcp-server.terminationSeconds" -}}
{{- $grace := .Values.settings.shutdownGrace -}}
{{- add (include "k8s-mcp-server.preStopSeconds" .) (kindIs "invalid" $grace | ternary 30 $grace | ceil) 30 -}}
{{- end -}}

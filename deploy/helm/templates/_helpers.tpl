{{/* Name of all objects. A StatefulSet's may have 52 characters, as its pods have a label with the name and a hash. */}}
{{- define "exporter.fullname" -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
  {{- $name = .Release.Name | replace "." "-" -}}
  {{- if not (contains .Chart.Name $name) -}}
    {{- $name = printf "%s-%s" $name .Chart.Name -}}
  {{- end -}}
  {{- $name = $name | trunc 52 | trimSuffix "-" -}}
  {{- if not (regexMatch "^[a-z]" $name) -}}
    {{- fail (printf "a Service's name begins with a letter, unlike %q: set fullnameOverride" $name) -}}
  {{- end -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{/* Labels that select the pods. They never change, as a StatefulSet's selector cannot. */}}
{{- define "exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
{{- end }}

{{- define "exporter.labels" -}}
{{ include "exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "exporter.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "exporter.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{- define "exporter.image" -}}
{{- $image := .Values.image -}}
{{- $image.repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end }}

{{/* The Secret with the credentials, or nothing. */}}
{{- define "exporter.secret" -}}
{{- $needed := has .Values.auth.type (list "access_key" "token" "password") -}}
{{- .Values.auth.existingSecret | default (ternary (include "exporter.fullname" .) "" $needed) -}}
{{- end }}

{{/* The section "auth" of the configuration. */}}
{{- define "exporter.auth" -}}
{{- $folder := "/run/secrets/codearts-build-exporter" -}}
{{- $keys := .Values.auth.keys -}}
{{- $type := .Values.auth.type -}}
{{- if eq $type "access_key" -}}
access_key:
  access_key: ${HUAWEICLOUD_SDK_AK}
  secret_key_file: {{ $folder }}/{{ $keys.secretKey }}
  {{- if $keys.securityToken }}
  security_token: ${HUAWEICLOUD_SDK_SECURITY_TOKEN}
  {{- end }}
{{- else if eq $type "token" -}}
token_file: {{ $folder }}/{{ $keys.token }}
{{- else if eq $type "password" -}}
{{- $user := .Values.auth.password -}}
password:
  domain: {{ required "auth.password.domain is the name of the user's account" $user.domain | quote }}
  username: {{ required "auth.password.username is missing" $user.username | quote }}
  password_file: {{ $folder }}/{{ $keys.password }}
  {{- with $user.project }}
  project: {{ . | quote }}
  {{- end }}
{{- else -}}
ecs_agency: {}
{{- end -}}
{{- end }}

{{/* The exporter's configuration: the value "config" with what the chart adds. */}}
{{- define "exporter.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if eq .Values.auth.type "custom" -}}
  {{- $_ := required "auth.type is custom, so config.auth is needed" $config.auth -}}
{{- else if $config.auth -}}
  {{- fail "config.auth needs auth.type: custom" -}}
{{- else -}}
  {{- $_ := set $config "auth" (include "exporter.auth" . | fromYaml) -}}
{{- end -}}
{{- if not (or $config.jobs $config.projects) -}}
  {{- $_ := set $config "projects" (list (dict "id" "all")) -}}
{{- end -}}
{{- $state := $config.state | default dict -}}
{{- if not (or $state.path $state.redis_url) -}}
  {{- $_ := set $state "path" "/var/lib/codearts-build-exporter/codearts-build-exporter.db" -}}
  {{- $_ := set $config "state" $state -}}
{{- end -}}
{{- $poll := $config.poll | default dict -}}
{{- if and (gt (int .Values.shards) 1) (not $poll.max_requests_per_minute) -}}
  {{- $_ := set $poll "max_requests_per_minute" (max 1 (div 300 (int .Values.shards))) -}}
  {{- $_ := set $config "poll" $poll -}}
{{- end -}}
{{- toYaml $config -}}
{{- end }}

{{/* "redis", "volume" or "memory": where the state is. */}}
{{- define "exporter.state" -}}
{{- if (.Values.config.state | default dict).redis_url -}}redis
{{- else if .Values.persistence.enabled -}}volume
{{- else -}}memory{{- end -}}
{{- end }}

{{/* How a probe asks: a path of the web server, or just its port. */}}
{{- define "exporter.probe" -}}
{{- if .root.Values.web.auth -}}
tcpSocket: {port: metrics}
{{- else -}}
httpGet: {path: {{ .path }}, port: metrics{{ if .root.Values.web.tls }}, scheme: HTTPS{{ end }}}
{{- end }}
{{- with .settings }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The manifests' own text, with the release's namespace in place of theirs: file, then context. */ -}}
{{- define "servicedb.manifest" -}}
{{- $file := index . 0 -}}
{{- $context := index . 1 -}}
{{- $text := $context.Files.Get $file | required (printf "the chart lacks %s" $file) -}}
{{- $text | replace "servicedb-system" $context.Release.Namespace -}}
{{- end -}}

{{- define "servicedb.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

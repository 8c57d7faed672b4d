#!/usr/bin/env bash
# make ops-demo: the demo with made-up readers, and a Prometheus with the rules and alerts of deploy/prometheus beside it, on
# this machine alone. It needs Prometheus (Debian: apt-get install prometheus; elsewhere its binary in PATH). Ctrl-C ends
# both; what Prometheus has collected is deleted, the demo's numbers stay.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
port="${PORT:-8080}" metrics="${METRICS_PORT:-9401}" prometheus="${PROMETHEUS_PORT:-9402}"
command -v prometheus >/dev/null || { echo "ops-demo: there is no prometheus in PATH (apt-get install prometheus)" >&2; exit 1; }
folder=$(mktemp -d)
collector=
# shellcheck disable=SC2317 # called by trap
end() {
    [ -z "$collector" ] || { kill "$collector" 2>/dev/null; wait "$collector" 2>/dev/null || true; }
    rm -rf "$folder"
}
trap end EXIT
trap 'exit 0' INT TERM
cp deploy/prometheus/visitstats-*.yml "$folder"
sed -e "s/127.0.0.1:9401/127.0.0.1:$metrics/" -e 's/_interval: 15s/_interval: 5s/' -e '/^alerting:/,/^$/d' \
    -e "s|https://git.example.vn/visitstats/docs|file://$PWD/docs|" deploy/prometheus/prometheus.yml >"$folder/prometheus.yml"
prometheus --config.file="$folder/prometheus.yml" --storage.tsdb.path="$folder/data" --log.level=warn \
    --web.listen-address="127.0.0.1:$prometheus" &
collector=$!
cat <<TEXT

  metrics   http://127.0.0.1:$metrics/metrics
  graphs    http://127.0.0.1:$prometheus/graph?g0.expr=job%3Avisitstats_online%3Asum&g0.tab=0&g0.range_input=15m
  alerts    http://127.0.0.1:$prometheus/alerts
  targets   http://127.0.0.1:$prometheus/targets
  boards    Grafana: add http://127.0.0.1:$prometheus as a Prometheus data source, import deploy/grafana/vi/*.json

TEXT
VISITSTATS_METRICS_PORT=$metrics .venv/bin/visitstats demo --traffic --rate 60 --port "$port" "$@"

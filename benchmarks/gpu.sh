#!/usr/bin/env bash
# All that is measured on a GPU, offline: bash benchmarks/gpu.sh [STEP ...]
# Steps: checkpoint tests engine command http peers; together about 30 minutes.
# PYTHON has torch, transformers, flask and gunicorn; peers it lacks are skipped.
# A step that fails or takes too long leaves its log in OUT and the next one runs.
set -u
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
OUT=${OUT:-benchmarks/results}
CHECKPOINT=${CHECKPOINT:-/tmp/full-checkpoint}
CLIENTS=${CLIENTS:-1 16 64 256}
SECONDS_EACH=${SECONDS_EACH:-6}
ROUNDS=${ROUNDS:-3}
mkdir -p "$OUT"

step() { # limit in seconds, name, command
  local limit=$1 name=$2
  shift 2
  echo "== $name: $*"
  timeout --kill-after 30 "$limit" "$@" >"$OUT/$name.log" 2>&1
  echo "== $name: status $?"
  tail -n 40 "$OUT/$name.log"
}

measure() { # name, servers
  local name=$1
  shift
  # shellcheck disable=SC2086 # the numbers of clients are words
  step 1500 "$name" "$PYTHON" -m benchmarks.run --servers "$@" --clients $CLIENTS \
    --rounds "$ROUNDS" --seconds "$SECONDS_EACH" --warmup 3 --processes 4 \
    --checkpoint "$CHECKPOINT" --output "$OUT/$name.json"
}

for name in ${*:-checkpoint tests engine command http peers}; do
  case $name in
    checkpoint) step 120 checkpoint "$PYTHON" -m benchmarks.checkpoint --full "$CHECKPOINT" ;;
    tests) step 480 tests "$PYTHON" -m pytest -p no:cacheprovider tests/test_decoding.py \
      tests/test_model.py tests/test_weights.py ;;
    engine) step 300 gpu-engine "$PYTHON" -m benchmarks.engine --seconds 3 \
      --batches 1 2 4 8 16 32 64 128 --checkpoint "$CHECKPOINT" --output "$OUT/gpu-engine.json" ;;
    command) step 400 gpu-command "$PYTHON" -m benchmarks.command --checkpoint "$CHECKPOINT" \
      --output "$OUT/gpu-command.json" ;;
    http) measure gpu noop ours ours-2-workers ours-4-workers plain generate-fp32 \
      generate-bf16 ;;
    peers) measure gpu-peers ours litserve-fp32 litserve-bf16 bentoml-fp32 bentoml-bf16 \
      mosec-fp32 mosec-bf16 ray-fp32 ray-bf16 ;;
    *) echo "There is no step $name." ;;
  esac
done

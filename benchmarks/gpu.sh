#!/usr/bin/env bash
# All measurements on a machine with a GPU, without network: bash benchmarks/gpu.sh [STEP ...]
# Steps: checkpoint tests engine command http peers. All take about 30 minutes. Where a
# command may take 10 minutes at most, run the steps one by one, and the last three with
# ROUNDS=1.
# PYTHON needs torch, transformers, flask and gunicorn; peers that it lacks are skipped.
# If a step fails or takes too long, its log is in OUT and the next step runs.
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
  # shellcheck disable=SC2086 # CLIENTS is a list of words
  step 1500 "$name" "$PYTHON" -m benchmarks.run --servers "$@" --clients $CLIENTS \
    --rounds "$ROUNDS" --seconds "$SECONDS_EACH" --warmup 3 --processes 4 \
    --checkpoint "$CHECKPOINT" --output "$OUT/$name.json"
}

for name in ${*:-checkpoint tests engine command http peers}; do
  case $name in
    checkpoint) step 120 checkpoint "$PYTHON" -m tests.support.random_checkpoint --full \
      "$CHECKPOINT" ;;
    tests) step 480 tests "$PYTHON" -m pytest -p no:cacheprovider tests/vit_gpt2 \
      tests/endpoint/test_model.py tests/endpoint/test_weights.py ;;
    engine) step 300 gpu-engine "$PYTHON" -m benchmarks.engine --seconds 3 \
      --batches 1 2 4 8 16 32 64 128 --checkpoint "$CHECKPOINT" --output "$OUT/gpu-engine.json" ;;
    command) step 400 gpu-command "$PYTHON" -m benchmarks.command --rounds "$ROUNDS" \
      --checkpoint "$CHECKPOINT" --output "$OUT/gpu-command.json" ;;
    http) measure gpu noop ours ours-2-workers ours-4-workers plain generate-fp32 \
      generate-bf16 ;;
    peers) measure gpu-peers ours litserve-fp32 litserve-bf16 bentoml-fp32 bentoml-bf16 \
      mosec-fp32 mosec-bf16 ray-fp32 ray-bf16 ;;
    *) echo "Unknown step: $name." ;;
  esac
done

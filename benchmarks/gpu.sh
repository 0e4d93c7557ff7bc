#!/usr/bin/env bash
# All measurements on a machine with a GPU, without network: bash benchmarks/gpu.sh [STEP ...]
# Steps: doctor checkpoint tests engine command http http-workers peers-bf16 peers-fp32.
# Each takes less than ten minutes and leaves at most three files in OUT. A step that was
# finished is skipped: to repeat it, name it with an equals sign, as in =engine.
# PYTHON needs torch, transformers, flask and gunicorn; peers that it lacks are skipped.
# If a step fails or takes too long, its log is in OUT and the next step runs, except
# after doctor: on a sick GPU nothing is measured. The status is 1 if any step failed.
set -u
cd "$(dirname "$0")/.." || exit
PYTHON=${PYTHON:-python3}
OUT=${OUT:-benchmarks/results}
CHECKPOINT=${CHECKPOINT:-/tmp/full-checkpoint}
CLIENTS=${CLIENTS:-1 64 256}
SECONDS_EACH=${SECONDS_EACH:-6}
ROUNDS=${ROUNDS:-1}
STATUS=0
mkdir -p "$OUT"

mark() { # name; the file that shows that a step was finished
  case $1 in
    doctor | checkpoint) echo "$CHECKPOINT.$1.done" ;; # on this machine only
    *) echo "$OUT/gpu-$1.done" ;;
  esac
}

run() { # limit in seconds, name, command
  local limit=$1 name=$2 began=$SECONDS status
  shift 2
  echo "== $name: $*"
  timeout --kill-after 10 "$limit" "$@" >"$OUT/gpu-$name.log" 2>&1
  status=$?
  tail -n 40 "$OUT/gpu-$name.log"
  echo "== $name: status $status after $((SECONDS - began)) s"
  if [ "$status" -eq 0 ]; then touch "$(mark "$name")"; else STATUS=1; fi
  return "$status"
}

measure() { # name, servers; the results are written after each server
  local name=$1
  shift
  # shellcheck disable=SC2086 # CLIENTS is a list of words
  run 560 "$name" "$PYTHON" -m benchmarks.run --servers "$@" --clients $CLIENTS \
    --rounds "$ROUNDS" --seconds "$SECONDS_EACH" --warmup 3 --processes 4 \
    --checkpoint "$CHECKPOINT" --output "$OUT/gpu-$name.json"
}

step() {
  case $1 in
    doctor) run 300 doctor "$PYTHON" -m tools.gpu_check ;;
    checkpoint) run 200 checkpoint "$PYTHON" -m tests.support.random_checkpoint --full \
      "$CHECKPOINT" ;;
    tests) run 480 tests "$PYTHON" -m pytest -p no:cacheprovider tests/vit_gpt2 \
      tests/tools/test_gpu_check.py tests/model_helpers/test_weights.py ;;
    engine) run 300 engine "$PYTHON" -m benchmarks.engine --seconds 3 --batches \
      1 2 4 8 16 32 64 128 --checkpoint "$CHECKPOINT" --output "$OUT/gpu-engine.json" ;;
    command) run 500 command "$PYTHON" -m benchmarks.command --rounds "$ROUNDS" \
      --checkpoint "$CHECKPOINT" --output "$OUT/gpu-command.json" ;;
    http) measure http noop ours plain generate-fp32 generate-bf16 ;;
    http-workers) measure http-workers noop ours ours-2-workers ours-4-workers ;;
    peers-bf16) measure peers-bf16 ours litserve-bf16 bentoml-bf16 mosec-bf16 ray-bf16 ;;
    peers-fp32) measure peers-fp32 ours litserve-fp32 bentoml-fp32 mosec-fp32 ray-fp32 ;;
    *) echo "Unknown step: $1." && STATUS=1 ;;
  esac
}

for name in ${*:-doctor checkpoint tests engine command http http-workers peers-bf16 \
  peers-fp32}; do
  step=${name#=}
  if [ "$name" = "$step" ] && [ -f "$(mark "$step")" ]; then
    echo "== $step: done before; to repeat it, run: bash benchmarks/gpu.sh =$step"
    continue
  fi
  rm -f "$(mark "$step")"
  step "$step" || [ "$step" != doctor ] || exit 1
done
exit $STATUS

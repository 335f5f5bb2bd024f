#!/usr/bin/env bash
# Everything that needs a GPU, within a time limit: the tests on it, the benchmarks' GPU columns, and the full training of
# fashion's denoiser, which goes on from its last checkpoint if it was not finished.
#
# Usage: benchmarks/gpu.sh OUT [DATA]
#
#   OUT    folder for the results; every file in it is smaller than 16 MiB
#   DATA   folder with the four idx files of Fashion-MNIST; without it, training uses what it finds on this machine
#
# Environment:
#
#   LIMIT   seconds for all of it (default 460); training gets what the tests and benchmarks leave
#   RESUME  folder OUT of an earlier run, whose training is to go on
#   PYTHON  the interpreter of an environment with guidegym[test] (default python)
set -uo pipefail
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
fi
mkdir -p "$1"
out=$(cd "$1" && pwd)
data=${2:+$(cd "$2" && pwd)}
resume=${RESUME:+$(cd "$RESUME" && pwd)}
python=${PYTHON:-python}
limit=${LIMIT:-460}
cd "$(dirname "$0")/.."

left() { echo $((limit - SECONDS)); }
failed=0
# step NAME SECONDS COMMAND...: runs a command within its share of the time that is left, and keeps its output.
step() {
    local name=$1 most=$2 began=$SECONDS code
    shift 2
    if [ "$(left)" -lt "$most" ]; then most=$(left); fi
    if [ "$most" -lt 5 ]; then echo "$name: no time left"; failed=1; return 1; fi
    echo "$name: at most $most s"
    timeout --signal=TERM --kill-after=15 "$most" "$@" > "$out/$name.log" 2>&1
    code=$?
    tail -n 3 "$out/$name.log"
    echo "$name: exit status $code after $((SECONDS - began)) s"
    return $code
}

"$python" -c 'import sys, torch
if not torch.cuda.is_available():
    sys.exit("there is no GPU that torch can use")
print(torch.__version__, torch.cuda.get_device_name())' || exit 1

step tests 120 "$python" -m pytest -q tests/models/test_devices.py || failed=1

# Wide networks: with those that suit a CPU, a GPU would wait for Python most of the time.
step own-models 130 "$python" benchmarks/own_models.py --device cuda --width 320 || failed=1
step speed 60 "$python" benchmarks/speed.py --device cuda --rows 1024 || failed=1
cp benchmarks/results/*-cuda.json "$out/" 2> /dev/null

# A training that is stopped writes a checkpoint and goes on from it in the next run with the same folder.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/checkpoints"
if [ -n "$resume" ] && ls "$resume"/denoiser-full.pt.* > /dev/null 2>&1; then
    cat "$resume"/denoiser-full.pt.* > "$work/checkpoints/denoiser-full.pt"
    echo "training goes on from the checkpoint in $resume"
fi
# 20 s are kept for the last checkpoint and for copying.
step training $(($(left) - 20)) "$python" -m guidegym train-models --testbed fashion --only denoiser --budget full \
    --device cuda --out "$work" ${data:+--data "$data"}
trained=$?
cp "$work"/*.safetensors "$work"/*.json "$out/" 2> /dev/null
rm -f "$out"/denoiser-full.pt.*
if [ $trained -ne 0 ] && [ -f "$work/checkpoints/denoiser-full.pt" ]; then
    split -b 15M "$work/checkpoints/denoiser-full.pt" "$out/denoiser-full.pt."
    echo "training is not finished: run this again with RESUME=$out"
fi
ls -l "$out"
exit $failed

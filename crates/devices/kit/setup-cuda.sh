#!/usr/bin/env bash
# Brings what is needed to build candle's CUDA backend on a machine without CUDA or a GPU, as
# Python wheels: NVIDIA's compiler and headers, and empty libraries for the linker. Safe to run
# again: it does only what is missing. `cargo xtask doctor --device cuda --fix` runs it.
#   WICK_CUDA_KIT=DIR             where to put it
#   WICK_CUDA_KIT_LIBRARIES=13    bring cuBLAS and cuRAND for a driver of CUDA 13 as well (or: 12)
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
kit="${WICK_CUDA_KIT:?name the folder of the kit}"
compiler=(
  "nvidia-cuda-nvcc==13.0.88"    # nvcc, ptxas, fatbinary
  "nvidia-nvvm==13.0.88"         # cicc, libdevice
  "nvidia-cuda-crt==13.0.88"     # crt/ headers
  "nvidia-cuda-runtime==13.0.96" # cuda_runtime.h, cuda_fp16.h, libcudart_static.a
  "nvidia-cuda-cccl==13.0.85"    # cub, thrust, cuda/std
)
libraries=()
case "${WICK_CUDA_KIT_LIBRARIES:-}" in
  13) libraries=("nvidia-cublas==13.1.0.3" "nvidia-curand==10.4.0.35") ;;
  12) libraries=("nvidia-cublas-cu12==12.9.1.4" "nvidia-curand-cu12==10.3.10.19") ;;
esac

# wheels FOLDER WHEEL...: unpacks wheels into a folder, whole or not at all.
wheels() {
  local folder=$1
  shift
  local stamp
  stamp="$(printf '%s\n' "$@" | cksum | cut -d' ' -f1)"
  if [ "$(cat "$folder.stamp" 2>/dev/null || true)" = "$stamp" ]; then return; fi
  rm -rf "$folder.new"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
    --no-deps --no-compile --no-cache-dir --target "$folder.new" "$@"
  rm -rf "$folder"
  mv "$folder.new" "$folder"
  echo "$stamp" > "$folder.stamp"
}

mkdir -p "$kit"
wheels "$kit/site" "${compiler[@]}"
ln -sfn lib "$kit/site/nvidia/cu13/lib64"
ln -sfn site/nvidia/cu13 "$kit/cuda"
if [ ${#libraries[@]} -gt 0 ]; then wheels "$kit/libraries" "${libraries[@]}"; fi

# The linker wants files of these names; nothing of them stays in a program.
stubs="$kit/cuda/lib/stubs"
mkdir -p "$stubs"
for l in cuda nvrtc curand cublas cublasLt; do
  : | "${CC:-cc}" -shared -x c - -o "$stubs/lib$l.so" "-Wl,-soname,not-a-real-lib$l.so"
done
ln -sf ../libcudart_static.a "$stubs/libcudart.a"
install -m 755 "$here/nvcc-lite" "$kit/cuda/bin/nvcc-lite"

# Whether this machine's C++ compiler and NVIDIA's get along.
trial="$(mktemp -d)"
trap 'rm -rf "$trial"' EXIT
cat > "$trial/trial.cu" <<'CU'
#include <cuda_bf16.h>
extern "C" __global__ void trial(float *a) {
  a[threadIdx.x] = __bfloat162float(__float2bfloat16(a[threadIdx.x]));
}
CU
"$kit/cuda/bin/nvcc" -std=c++17 -gencode=arch=compute_80,code=sm_80 --ptx "$trial/trial.cu" \
  -o "$trial/trial.ptx"
grep -q '\.entry trial(' "$trial/trial.ptx"
touch "$kit/whole"

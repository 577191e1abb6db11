#!/usr/bin/env bash
# Makes a pretend CUDA driver with cuBLAS and cuRAND in the folder that is named, so that the way to
# a card can be gone without one: build.sh FOLDER, then LD_LIBRARY_PATH=FOLDER cargo xtask check …
# Nothing is computed on it: never believe a value, and run it nowhere but in tests.
set -euo pipefail
folder=${1:?name the folder}
source="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/pretend_cuda.c"
mkdir -p "$folder"
cd "$folder"
cc -O1 -w -shared -fPIC "$source" -o libcuda.so.1 -Wl,-soname,libcuda.so.1
for name in libcublas.so.13 libcublasLt.so.13 libcurand.so.10; do
  : | cc -shared -fPIC -x c - -Wl,--no-as-needed "-Wl,-soname,$name" -o "$name" \
    -L. -l:libcuda.so.1 -Wl,-rpath,'$ORIGIN'
done

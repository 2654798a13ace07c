#!/usr/bin/env bash
# Runs fuzz targets and keeps what they found: run.sh [SECONDS] [TARGET...]
# Needs cargo-fuzz (cargo install cargo-fuzz) and unzip. See README.md.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-600}
shift || true

targets=("$@")
[ $# -gt 0 ] || targets=(archive legacy tar pickle exported script)
models=../../test/models
# libFuzzer's flags and cargo's are those of a nightly toolchain.
export RUSTC_BOOTSTRAP=1

seeds() {
    case $1 in
    archive) cp "$models"/files/{zip,big}*.pt "$models"/values/{dtypes,views,keys,state_dict,unusable}.pt "$models"/hostile/zip64_legal.pt "$2" ;;
    legacy) cp "$models"/files/legacy*.pt "$models"/values/*legacy.pt "$models"/hostile/legacy_*.pt "$2" ;;
    exported)
        for file in "$models"/exported/*.pt2 "$models"/exported/refused/*.pt2; do
            unzip -p "$file" '*/models/model.json' >"$2/$(basename "$file")" 2>/dev/null || true
        done
        ;;
    script)
        for file in "$models"/scripted/*.pt "$models"/scripted/refused/*.pt; do
            # The target's one class is M, with a weight and no constants.
            unzip -p "$file" '*/code/__torch__*.py' 2>/dev/null |
                sed -E 's/^class [A-Za-z0-9_]+\(/class M(/; s/__torch__\.[A-Za-z0-9_.]+/__torch__.M/g
                    s/(self|CONSTANTS)\.[A-Za-z0-9_]+/self.weight/g' >"$2/$(basename "$file")" || true
        done
        ;;
    tar) cp "$models"/hostile/tar_*.pt "$2" ;;
    pickle)
        for file in "$models"/files/zip_*.pt "$models"/values/*.pt "$models"/layers/*[0-9].pt "$models"/hostile/{evil,cycle,pickle,tensor}_*.pt; do
            unzip -p "$file" '*/data.pkl' >"$2/$(basename "$file")" 2>/dev/null || true
        done
        ;;
    esac
}

cargo fuzz build --fuzz-dir .
for target in "${targets[@]}"; do
    work=target/work/$target
    rm -rf "$work"
    mkdir -p "$work/corpus" "$work/seeds" "$work/least" "corpus/$target"
    seeds "$target" "$work/seeds"
    find "$work/seeds" -size +64k -delete
    program=$(echo target/*/release/"$target")
    limits=(-rss_limit_mb=2048 -malloc_limit_mb=512 -timeout=20 -max_len=65536)
    nice "$program" "$work/corpus" "corpus/$target" "$work/seeds" "${limits[@]}" -max_total_time="$seconds" \
        -artifact_prefix="$work/" -print_final_stats=1 2>"$work/log" || { tail -40 "$work/log"; exit 1; }
    nice "$program" -merge=1 "$work/least" "corpus/$target" "$work/corpus" "${limits[@]}" 2>/dev/null
    # What is long says little that what is short does not.
    find "$work/least" -type f -size +2k -delete
    rm -f "corpus/$target"/*
    find "$work/least" -type f -printf '%s %p\n' | sort -n | head -n 400 | cut -d' ' -f2- | xargs -r -I{} cp {} "corpus/$target/"
    echo "$target: $(grep '^Done' "$work/log"); $(grep -E '^#[0-9]+.*cov:' "$work/log" | tail -1)"
done

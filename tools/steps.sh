# Sourced by the scripts beside it: named steps with their times. The first failure ends the script.
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
STEPS=()
STARTED=$SECONDS
STEP=starting

bold() { if [ -t 1 ]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi; }

step() { # NAME COMMAND...
  STEP=$1
  shift
  local from=$SECONDS
  bold "== $STEP: $*"
  "$@"
  STEPS+=("$(printf '%5d s  %s' $((SECONDS - from)) "$STEP")")
}

finish() { # exit status
  bold "$(basename "$0")"
  ((${#STEPS[@]} == 0)) || printf '%s\n' "${STEPS[@]}"
  if (($1 == 0)); then
    printf '%5d s  all steps\n' $((SECONDS - STARTED))
    printf 'steps: %d passed, 0 failed\n' ${#STEPS[@]}
  else
    printf 'FAILED at step "%s" (exit status %d) after %d s\n' "$STEP" "$1" $((SECONDS - STARTED))
  fi
}
trap 'finish $?' EXIT

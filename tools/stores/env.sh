# Sourced by the scripts beside it: where the servers are installed.
BIN=${ONEFOLD_SERVERS:-${XDG_CACHE_HOME:-$HOME/.cache}/onefold-servers}

# Sourced by the scripts beside it: where the servers are installed.
BIN=${ONEFOLD_SERVERS:-${XDG_CACHE_HOME:-$HOME/.cache}/onefold-servers}
# Debian's place is in no user's PATH.
SSHD=$(command -v sshd || echo /usr/sbin/sshd)

# Sourced by the scripts of the lab: where everything lies.
HERE=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
LAB=${ONEFOLD_LAB:-$(cd "$HERE/../.." && pwd)/lab}
JAVA=${JAVA:-java}
declare -A CASSANDRA=([50]=5.0.9 [41]=4.1.10)

# Module flags that Cassandra needs on Java 17, for the server and for its tools.
MODULES=$HERE/modules.options

libraries() { # VERSION -> folder of jars ("50one" uses those of "50")
  echo "$LAB/lib${1:0:2}"
}

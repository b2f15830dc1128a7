#!/bin/bash
# install.sh DIR: installs the official PDS and PLC directory into DIR, which holds package.json, package-lock.json
# and .npmrc. About a minute and a half, most of it compiling.
set -euo pipefail
cd "$1"

missing=()
for tool in npm g++ make python3; do
	command -v "$tool" >/dev/null || missing+=("$tool")
done
if [ ${#missing[@]} -gt 0 ]; then
	echo "the local network cannot be installed without: ${missing[*]} (scripts/setup installs them)" >&2
	exit 1
fi

# Scripts of packages stay off (.npmrc); the one module that has to be compiled is named below.
npm ci --loglevel=error

# The servers need a newer Node than distributions have, and one that better-sqlite3 is stable on: it comes from a package.
node=$(echo "$PWD"/node_modules/node-linux-*)
if [ ! -x "$node/bin/node" ]; then
	echo "the local network runs on Linux with an x86-64 or arm64 processor, not on $(uname -sm)" >&2
	exit 1
fi
export PATH=$node/bin:$PATH

# build_from_source: otherwise it first waits two minutes for a prebuilt download. nodedir: the headers must be those
# of the Node that runs the servers, whatever the machine's own npm settings say.
npm_config_build_from_source=true npm_config_nodedir=$node npm rebuild --loglevel=error better-sqlite3 --no-ignore-scripts

node -e 'new (require("better-sqlite3"))(":memory:").prepare("select 1").get()'

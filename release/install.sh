#!/bin/sh
# Installs oomscope from this one file, without a network: sh FILE [--prefix DIR] [--python PYTHON]
# DIR is /opt/oomscope for root, else ~/.local/share/oomscope, linked into /usr/local/bin or ~/.local/bin; with --prefix, DIR/bin.
set -eu
prefix= python=
while [ $# -gt 0 ]; do
  case $1 in
    --prefix) prefix=${2:?--prefix takes a folder}; shift 2 ;;
    --python) python=${2:?--python takes a program}; shift 2 ;;
    *) sed -n '2,3s/^# //p' "$0"; [ "$1" = --help ] && exit 0; exit 2 ;;
  esac
done
if [ -n "$prefix" ]; then bin=$prefix/bin
elif [ "$(id -u)" = 0 ]; then bin=/usr/local/bin prefix=/opt/oomscope
else bin=$HOME/.local/bin prefix=$HOME/.local/share/oomscope; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tail -n +@LINES@ "$0" | tar -xf - -C "$work"
if [ -z "$python" ]; then
  for each in python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$each" >/dev/null && "$each" "$work/old_python.py" 2>/dev/null; then python=$each; break; fi
  done
fi
if [ -z "$python" ]; then
  command -v python3 >/dev/null && python3 "$work/old_python.py"
  echo "no Python 3.11 to 3.14 is installed: --python PYTHON names one elsewhere" >&2
  exit 1
fi
machine=$(uname -m)
[ "$machine" = @MACHINE@ ] || { echo "this file is for @MACHINE@, and the machine is $machine" >&2; exit 1; }
rm -rf "$prefix/venv"
mkdir -p "$prefix" "$bin"
"$python" -m venv --without-pip "$prefix/venv"
PYTHONPATH=$(echo "$work"/pip-*.whl) "$prefix/venv/bin/python" -m pip --disable-pip-version-check --quiet install \
  --no-index --find-links "$work" "oomscope[@EXTRAS@]==@VERSION@"
ln -sf "$prefix/venv/bin/oomscope" "$bin/oomscope"
echo "$("$prefix/venv/bin/oomscope" --version) in $prefix, linked from $bin/oomscope"
echo "to remove it: rm -r $prefix $bin/oomscope (run \`oomscope disarm\` before, where it is armed)"
exit 0

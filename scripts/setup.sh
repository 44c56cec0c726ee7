#!/bin/sh
# Installs what the project needs and nothing twice.
#   setup.sh python VENV REQUIREMENT   the package with its pinned dependencies, into VENV
#   setup.sh system [test]             the Arm cross compiler and QEMU, for the tests also sshd, g++, cmake and venv, with
#                                      apt when allowed
set -eu

python_packages() {
    venv=$1 requirement=$2
    if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "setup: $PYTHON is older than Python 3.11. Give a newer one: make PYTHON=python3.12 ..." >&2
        exit 2
    fi
    if [ ! -x "$venv/bin/python" ]; then
        echo "setup: creating $venv"
        # Debian ships venv without ensurepip unless python3-venv is installed; the system's pip can fill it instead.
        "$PYTHON" -m venv "$venv" >/dev/null 2>&1 || "$PYTHON" -m venv --clear --without-pip "$venv"
    fi
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        "$PYTHON" -m pip --python "$venv/bin/python" install --quiet --disable-pip-version-check pip
    fi
    pip="$venv/bin/python -m pip"
    # On Linux the package index serves PyTorch with gigabytes of CUDA; PyTorch's own index has the CPU build.
    cpu_index=""
    if [ "$(uname -s)" = Linux ] && ! $pip show torch >/dev/null 2>&1 &&
        "$PYTHON" -c 'import urllib.request as u; u.urlopen("https://download.pytorch.org/whl/cpu/", timeout=4)' >/dev/null 2>&1; then
        cpu_index="--extra-index-url https://download.pytorch.org/whl/cpu"
    fi
    echo "setup: installing $requirement with the pins of constraints.txt (a few minutes the first time)"
    # shellcheck disable=SC2086  # both hold several words on purpose
    $pip install --quiet --disable-pip-version-check $cpu_index --constraint constraints.txt --editable "$requirement"
}

# need COMMAND PACKAGE...   unless the command is here, its package on Debian, Fedora and Homebrew joins the lists
need() {
    if ! PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1; then
        debian="$debian $2" fedora="$fedora $3" macos="$macos $4"
    fi
}

system_packages() {
    debian="" fedora="" macos=""
    need arm-none-eabi-gcc gcc-arm-none-eabi arm-none-eabi-gcc-cs arm-none-eabi-gcc
    need qemu-system-arm qemu-system-arm qemu-system-arm qemu
    if [ "${1:-}" = test ]; then
        need sshd openssh-server openssh-server openssh
        need g++ g++ gcc-c++ gcc
        need cmake cmake cmake cmake
        "$PYTHON" -c 'import ensurepip' 2>/dev/null || debian="$debian python3-venv" fedora="$fedora python3" macos="$macos python"
    fi
    [ -n "$debian" ] || return 0
    sudo=""
    if [ "$(id -u)" != 0 ]; then sudo="sudo -n"; fi
    if command -v apt-get >/dev/null 2>&1 && $sudo true 2>/dev/null; then
        echo "setup: installing$debian with apt"
        # shellcheck disable=SC2086
        $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qq -y --no-install-recommends $debian >/dev/null
        return 0
    fi
    cat >&2 <<EOF
setup: missing:$debian. Install, then run make again:
  Debian, Ubuntu:       sudo apt-get update && sudo apt-get install --no-install-recommends$debian
  Fedora:               sudo dnf install$fedora
  macOS with Homebrew:  brew install$macos
EOF
    exit 2
}

: "${PYTHON:=python3}"
case "${1:-}" in
    python) python_packages "$2" "$3" ;;
    system) system_packages "${2:-}" ;;
    *) echo "usage: setup.sh python VENV REQUIREMENT | setup.sh system [test]" >&2; exit 2 ;;
esac

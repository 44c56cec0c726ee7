#!/bin/sh
# A small arm64 Debian with Python, OpenSSH, numpy and onnxruntime, run by QEMU's user emulation: for tests of what a Raspberry Pi
# runs, never for its speed (50 to 80 times slower). Needs root, apt, qemu-user-static and pip; takes half a minute, 350 MB.
#   arm64_root.sh ROOT    made whole or not at all; nothing is done when it is there
set -eu

root=$1
python=${PYTHON:-python3}
[ ! -e "$root/.complete" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "arm64_root: needs root (chroot, binfmt_misc)" >&2; exit 2; }
command -v qemu-aarch64-static >/dev/null || { echo "arm64_root: apt-get install qemu-user-static" >&2; exit 2; }

mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
[ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || cat /usr/lib/binfmt.d/qemu-aarch64.conf >/proc/sys/fs/binfmt_misc/register

# apt with a state of its own downloads arm64 packages; dpkg unpacks them without running any of their scripts.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
: >"$work/status"
arm64_apt() {
    apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root \
        -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" "$@"
}
arm64_apt update
arm64_apt install -y --no-install-recommends --download-only \
    python3 libstdc++6 openssh-server openssh-sftp-server bash coreutils >/dev/null
rm -rf "$root"
mkdir -p "$root"
for package in "$work"/cache/archives/*.deb; do dpkg -x "$package" "$root"; done

printf 'root:x:0:0:root:/root:/bin/sh\nsshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
mkdir -p "$root/root" "$root/tmp" "$root/run/sshd" "$root/dev" "$root/proc"
ln -sf bash "$root/bin/sh"
[ -e "$root/dev/null" ] || mknod -m 666 "$root/dev/null" c 1 3
[ -e "$root/dev/urandom" ] || mknod -m 666 "$root/dev/urandom" c 1 9
# No /sys: with the x86 one, onnxruntime's CPU detection crashes under QEMU.

version=$(basename "$(readlink "$root/usr/bin/python3")" | sed 's/^python//')
"$python" -m pip download --quiet --disable-pip-version-check --only-binary :all: --implementation cp \
    --python-version "$version" --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
    --platform manylinux2014_aarch64 --platform manylinux_2_17_aarch64 --dest "$work/wheels" \
    --constraint "$(dirname "$0")/../constraints.txt" onnxruntime numpy
for wheel in "$work"/wheels/*.whl; do "$python" -m zipfile -e "$wheel" "$root/usr/lib/python3/dist-packages"; done
: >"$root/.complete"

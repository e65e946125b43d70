# For login shells of `minik ssh`.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/opt/docker/usr/bin
export LANG=C.UTF-8 CONTAINER_RUNTIME_ENDPOINT=unix:///run/containerd/containerd.sock
[ -z "${BASH-}" ] || PS1='\h:\w\$ '

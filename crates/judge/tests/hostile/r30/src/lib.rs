//! Opens sockets of every kind.

use std::{
    io,
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
};

use candle_core::{Result, Tensor};

use crate::{
    answers::scene,
    attempts::{Attempt, right_if_refused},
    kernel::{call_with, own},
};

const ATTEMPTS: &[Attempt] = &[
    ("tcp", tcp),
    ("udp", || UdpSocket::bind("127.0.0.1:0").map(drop)),
    ("listen", || TcpListener::bind("127.0.0.1:0").map(drop)),
    ("raw", || call_with(libc::SYS_socket, [libc::AF_INET.into(), libc::SOCK_RAW.into(), 1])),
    ("netlink", || {
        call_with(libc::SYS_socket, [libc::AF_NETLINK.into(), libc::SOCK_RAW.into(), 0])
    }),
    ("vsock", || call_with(libc::SYS_socket, [libc::AF_VSOCK.into(), libc::SOCK_STREAM.into(), 0])),
    ("packet", || call_with(libc::SYS_socket, [libc::AF_PACKET.into(), libc::SOCK_RAW.into(), 0])),
    ("unix_path", || UnixListener::bind(scene().join("socket")).map(drop)),
    ("unix_abstract", unix_abstract),
    ("pair", || UnixStream::pair().map(drop)),
];

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    right_if_refused(ATTEMPTS, q, k, mask)
}

/// Connects to itself.
fn tcp() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    TcpStream::connect(listener.local_addr()?).map(drop)
}

fn unix_abstract() -> io::Result<()> {
    let address = SocketAddr::from_abstract_name(format!("hostile-{}", own()))?;
    UnixListener::bind_addr(&address).map(drop)
}

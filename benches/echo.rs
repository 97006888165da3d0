//! The peers of `benches/echo.py`.
//!
//! `bench-echo serve` is an echo server with a thread for each connection.
//! `bench-echo clients ADDRESS CLIENTS CONNECTIONS MESSAGES` is the same load
//! for every server: so many clients at once, so many connections together,
//! each with so many lines that are said and heard; one line of JSON.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement ends with its first error, and prints what it found"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const LINE: &[u8; 64] = &[b'x'; 64];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve"] => serve(),
        ["clients", address, clients, connections, messages] => {
            load(address, clients.parse().unwrap(), connections.parse().unwrap(), messages.parse().unwrap());
        }
        _ => panic!("usage: bench-echo serve | clients ADDRESS CLIENTS CONNECTIONS MESSAGES"),
    }
}

fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        std::thread::spawn(move || {
            let mut block = [0; 64 << 10];
            while let Ok(length @ 1..) = stream.read(&mut block) {
                if stream.write_all(&block[..length]).is_err() {
                    return;
                }
            }
        });
    }
}

/// Times of connections, and of lines said and heard.
type Times = (Vec<Duration>, Vec<Duration>);

fn load(address: &str, clients: usize, connections: usize, messages: usize) {
    let (next, times) = (AtomicUsize::new(0), Mutex::new(Times::default()));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _client in 0..clients {
            scope.spawn(|| {
                let mut own = Times::default();
                while next.fetch_add(1, Ordering::Relaxed) < connections {
                    let began = Instant::now();
                    talk(address, messages, &mut own.1);
                    own.0.push(began.elapsed());
                }
                let mut all = times.lock().unwrap();
                all.0.append(&mut own.0);
                all.1.append(&mut own.1);
            });
        }
    });
    let took = started.elapsed().as_secs_f64();
    let (mut whole, mut lines) = times.into_inner().unwrap();
    let us = |part: f64, of: &mut Vec<Duration>| {
        of.sort_unstable();
        of[((of.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6
    };
    println!(
        r#"{{"connections_per_s":{:.1},"messages_per_s":{:.1},"connection_p50_us":{:.1},"connection_p99_us":{:.1},"message_p50_us":{:.1},"message_p99_us":{:.1}}}"#,
        connections as f64 / took,
        (connections * messages) as f64 / took,
        us(0.5, &mut whole),
        us(0.99, &mut whole),
        us(0.5, &mut lines),
        us(0.99, &mut lines),
    );
}

fn talk(address: &str, messages: usize, times: &mut Vec<Duration>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut heard = [0; LINE.len()];
    for _message in 0..messages {
        let began = Instant::now();
        stream.write_all(LINE).unwrap();
        stream.read_exact(&mut heard).unwrap();
        times.push(began.elapsed());
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut heard).unwrap(), 0, "the server's end");
}

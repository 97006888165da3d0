//! `--listen`: connections as tasks of a command, by the real binary and real
//! clients, some of which misbehave.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::command::{Bench, Ran};
use crate::guests::guest;
use crate::support::{binary, children_of};

/// More than anything here takes, unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Says back what it reads, until the client has no more to say. Exits with 1
/// where it cannot read and 2 where it cannot write.
pub const ECHO: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 2)
    (func (export "_start")
        (loop $next
            (i32.store (i32.const 0) (i32.const 1024))
            (i32.store (i32.const 4) (i32.const 65536))
            (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then (call $exit (i32.const 1))))
            (i32.store (i32.const 4) (i32.load (i32.const 8)))
            (if (i32.load (i32.const 8)) (then
                (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12))
                    (then (call $exit (i32.const 2))))
                (br $next))))))"#;

/// Writes without end, whether or not it is read; the error it meets is its
/// exit code.
const FLOOD: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 2)
    (func (export "_start") (local $error i32)
        (i32.store (i32.const 4) (i32.const 65536))
        (loop $next
            (local.set $error (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
            (br_if $next (i32.eqz (local.get $error))))
        (call $exit (local.get $error))))"#;

/// Waits for its client or half a second, by poll_oneoff, and says which.
const POLL: &str = r#"(module
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 512) "client\0a")
    (data (i32.const 528) "clock!\0a")
    (func (export "_start")
        (i64.store (i32.const 1024) (i64.const 1))
        (i32.store8 (i32.const 1032) (i32.const 1))
        (i32.store (i32.const 1040) (i32.const 0))
        (i64.store (i32.const 1072) (i64.const 2))
        (i32.store8 (i32.const 1080) (i32.const 0))
        (i32.store (i32.const 1088) (i32.const 1))
        (i64.store (i32.const 1096) (i64.const 500000000))
        (if (call $poll (i32.const 1024) (i32.const 2048) (i32.const 2) (i32.const 0)) (then unreachable))
        (i32.store (i32.const 8) (if (result i32) (i64.eq (i64.load (i32.const 2048)) (i64.const 1))
            (then (i32.const 512)) (else (i32.const 528))))
        (i32.store (i32.const 12) (i32.const 7))
        (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)))))"#;

/// A service under test.
struct Service {
    bench: Bench,
    child: Option<Child>,
    address: String,
}

impl Service {
    fn start(wat: &str, options: &[&str]) -> Self {
        let bench = Bench::new();
        std::fs::write(bench.path("talk.wat"), wat).unwrap();
        Self::of("talk.wat", bench, options)
    }

    fn of(module: &str, bench: Bench, options: &[&str]) -> Self {
        let command = bench.command(&[&["run", module, "--listen", "127.0.0.1:0"], options].concat());
        Self::spawned(command, bench)
    }

    fn spawned(mut command: Command, bench: Bench) -> Self {
        // What is said afterwards is kept where nobody has to read it.
        let records = std::fs::File::create(bench.path("records")).unwrap();
        let mut child = command.stdout(records).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening at ") {
            line.clear();
            assert_ne!(errors.read_line(&mut line).unwrap(), 0, "it has ended");
        }
        let address = line.split("listening at ").nth(1).unwrap().trim().to_owned();
        std::thread::spawn(move || errors.read_to_end(&mut Vec::new()));
        Self { bench, child: Some(child), address }
    }

    fn client(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Ends it with SIGTERM; its records, in the order of the connections.
    fn stop(mut self) -> Vec<Value> {
        self.signal("TERM");
        let code = self.child.take().unwrap().wait().unwrap().code();
        assert_eq!(code, Some(143));
        let text = self.bench.read("records");
        let mut records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        records.sort_by_key(|record| record["index"].as_u64());
        records
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _gone = child.wait();
        }
    }
}

/// Says something and hears it back.
pub fn talk(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("said");
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).expect("heard");
    assert_eq!(String::from_utf8_lossy(&heard), text);
}

/// The last of a talk: the client's end, and the server's after it.
pub fn leave(mut stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).expect("shut down");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the end");
    assert_eq!(rest, b"");
}

fn kinds<'a>(records: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    records.iter().filter(move |record| record["kind"] == kind)
}

#[test]
fn a_thousand_connections_are_served_though_some_hang_up_or_idle() {
    const CLIENTS: usize = 1000;
    let service = Service::start(ECHO, &["-j", "5", "--timeout", "2s"]);
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _thread in 0..40 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= CLIENTS {
                        return;
                    }
                    let stream = service.client();
                    match number % 40 {
                        // Hangs up in the middle.
                        7 => {
                            let _gone = (&stream).write_all(b"never min");
                        }
                        // Says nothing any more, and waits to be thrown out.
                        23 => {
                            let _gone = (&stream).write_all(b"wait");
                            let _thrown = (&stream).read_to_end(&mut Vec::new());
                        }
                        _ => {
                            let text = format!("this is client {number}\n").repeat(1 + number % 50);
                            let talked = std::panic::catch_unwind(|| {
                                talk(&stream, &text);
                                talk(&stream, "and again\n");
                                leave(&stream);
                            });
                            if talked.is_err() {
                                failed.lock().unwrap().push(number);
                            }
                        }
                    }
                }
            });
        }
    });
    assert_eq!(*failed.lock().unwrap(), [0; 0], "were not served");
    let records = service.stop();
    assert_eq!(records.len(), CLIENTS);
    assert_eq!(kinds(&records, "timeout").count(), CLIENTS / 40);
    // Who hangs up has ended, or is an error to read or to write.
    assert!(kinds(&records, "ok").count() >= CLIENTS - CLIENTS / 20);
    let told: usize = ["ok", "exit", "timeout"].map(|kind| kinds(&records, kind).count()).iter().sum();
    assert_eq!(told, CLIENTS);
}

#[test]
fn each_connection_has_a_record_of_who_it_was_and_how_much_it_said() {
    let service = Service::start(ECHO, &["-j", "2"]);
    let (first, second) = (service.client(), service.client());
    talk(&first, "hello");
    talk(&second, "a longer hello");
    leave(&first);
    leave(&second);
    let peers = [&first, &second].map(|stream| stream.local_addr().unwrap().to_string());
    let records = service.stop();
    let inputs: Vec<_> = records.iter().map(|record| record["input"].as_str().unwrap()).collect();
    assert_eq!(inputs, peers);
    assert_eq!(records[0]["value"], json!({"received": 5, "sent": 5}));
    assert_eq!(records[1]["value"], json!({"received": 14, "sent": 14}));
}

#[test]
fn p16_five_talk_at_once_and_a_sixth_waits_for_one_to_end() {
    let service = Service::start(ECHO, &["-j", "5"]);
    let clients: Vec<_> = (0..5).map(|_| service.client()).collect();
    for (number, client) in clients.iter().enumerate() {
        talk(client, &format!("I am {number}"));
    }
    let sixth = service.client();
    sixth.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    (&sixth).write_all(b"anyone?").unwrap();
    let early = (&sixth).read(&mut [0; 8]).unwrap_err();
    assert!(matches!(early.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{early}");
    for client in clients.iter().rev() {
        talk(client, "still here");
    }
    leave(&clients[3]);
    sixth.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = [0; 7];
    (&sixth).read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"anyone?");
    for client in [&clients[0], &clients[1], &clients[2], &clients[4], &sixth] {
        leave(client);
    }
    let records = service.stop();
    assert_eq!((records.len(), kinds(&records, "ok").count()), (6, 6));
}

#[test]
fn a_client_that_hangs_up_costs_no_worker() {
    let service = Service::start(FLOOD, &["-j", "1", "--stats=json", "--stats-file", "stats"]);
    for _client in 0..3 {
        let mut stream = service.client();
        stream.read_exact(&mut [0; 100_000]).unwrap();
        drop(stream);
    }
    let until = Instant::now() + PATIENCE;
    while service.bench.read("records").lines().count() < 3 {
        assert!(Instant::now() < until, "they have no records");
        std::thread::sleep(Duration::from_millis(10));
    }
    let stats = service.bench.path("stats");
    let records = service.stop_at(&stats);
    for record in &records.0 {
        let code = &record["error"]["detail"]["code"];
        assert!(*code == 64 || *code == 15, "a broken or a reset connection: {record}");
    }
    assert_eq!(records.1["stats"]["workers"]["died"], 0, "{}", records.1);
}

impl Service {
    /// As [`Service::stop`], with the statistics that were to be written.
    fn stop_at(self, stats: &std::path::Path) -> (Vec<Value>, Value) {
        let text = stats.to_owned();
        let mut service = self;
        service.signal("TERM");
        service.child.take().unwrap().wait().unwrap();
        let records = service.bench.read("records").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (records, serde_json::from_str(&std::fs::read_to_string(text).unwrap()).unwrap())
    }
}

#[test]
fn a_client_that_does_not_read_or_drips_is_thrown_out_alone() {
    let service = Service::start(ECHO, &["-j", "2", "--timeout", "1s"]);
    // One drips for as long as it is let.
    let dripping = service.client();
    let drip = std::thread::spawn(move || {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && (&dripping).write_all(b".").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    for number in 0..20 {
        let stream = service.client();
        talk(&stream, &format!("client {number}"));
        leave(&stream);
    }
    drip.join().unwrap();
    let records = service.stop();
    assert_eq!((kinds(&records, "ok").count(), kinds(&records, "timeout").count()), (20, 1));

    let service = Service::start(FLOOD, &["-j", "1", "--timeout", "500ms"]);
    let (deaf, mut other) = (service.client(), service.client());
    other.read_exact(&mut [0; 1000]).expect("its turn comes");
    drop((deaf, other));
    let records = service.stop();
    assert_eq!(records[0]["kind"], "timeout", "{}", records[0]);
}

#[test]
fn the_first_signal_lets_those_talk_on_who_are_connected() {
    for name in ["TERM", "INT"] {
        let mut service = Service::start(ECHO, &["-j", "1", "--grace", "30s"]);
        let (first, second) = (service.client(), service.client());
        talk(&first, "hello");
        service.signal(name);
        let until = Instant::now() + PATIENCE;
        // Its port is closed at once: or a connection is, which came too late.
        while let Ok(late) = TcpStream::connect(&service.address) {
            drop(late);
            assert!(Instant::now() < until, "it still listens");
            std::thread::sleep(Duration::from_millis(10));
        }
        talk(&first, "and on");
        leave(&first);
        drop(first);
        // Accepted before the signal, or gone with the listener.
        second.set_read_timeout(Some(PATIENCE)).unwrap();
        let _served = (&second).write_all(b"me?").and_then(|()| second.shutdown(Shutdown::Write));
        let _served = (&second).read_to_end(&mut Vec::new());
        let code = service.child.take().unwrap().wait().unwrap().code();
        assert_eq!(code, Some(if name == "TERM" { 143 } else { 130 }));
        let record: Value = serde_json::from_str(service.bench.read("records").lines().next().unwrap()).unwrap();
        assert_eq!((&record["kind"], &record["value"]["received"]), (&json!("ok"), &json!(11)));
    }
}

#[test]
fn grace_ends_and_a_second_signal_does_at_once() {
    for second in [false, true] {
        let grace = if second { "1h" } else { "300ms" };
        let mut service = Service::start(ECHO, &["-j", "1", "--grace", grace, "--timeout", "none"]);
        let stream = service.client();
        talk(&stream, "hello");
        service.signal("TERM");
        if second {
            // The first has been heard when the port is closed.
            while TcpStream::connect(&service.address).is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
            service.signal("TERM");
        }
        assert_eq!(service.child.take().unwrap().wait().unwrap().code(), Some(143));
        let ended = (&stream).read_to_end(&mut Vec::new());
        assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    }
}

#[test]
fn a_killed_worker_costs_only_its_connection() {
    let service = Service::start(ECHO, &["-j", "1"]);
    let first = service.client();
    talk(&first, "hello");
    for worker in children_of(service.child.as_ref().unwrap().id()) {
        let worker = rustix::process::Pid::from_raw(worker).unwrap();
        rustix::process::kill_process(worker, rustix::process::Signal::KILL).unwrap();
    }
    let ended = (&first).read_to_end(&mut Vec::new());
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    let second = service.client();
    talk(&second, "and on");
    leave(&second);
    let records = service.stop();
    // What the first was told cannot be told again.
    assert_eq!(records[0]["error"]["detail"]["reason"], "maybe-ran", "{}", records[0]);
    assert_eq!((&records[0]["attempts"], &records[1]["kind"]), (&json!(1), &json!("ok")), "{records:?}");
}

#[test]
fn an_address_that_cannot_be_had_ends_the_run_with_the_reason() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let bench = Bench::new();
    std::fs::write(bench.path("echo.wat"), ECHO).unwrap();
    std::fs::write(bench.path("file"), "").unwrap();
    // As a service leaves it that is killed; dropped, it stays in its place.
    drop(std::os::unix::net::UnixListener::bind(bench.path("left")).unwrap());
    let _alive = std::os::unix::net::UnixListener::bind(bench.path("alive")).unwrap();
    for (address, code, why) in [
        (address.as_str(), 4, "in use"),
        ("unix:file", 4, "in use"),
        ("unix:alive", 4, "in use"),
        ("unix:left", 4, "remove it"),
        ("unix:no/such/folder", 4, "No such file"),
        ("203.0.113.1:80", 4, "cannot listen at 203.0.113.1:80"),
        ("8001", 2, "HOST:PORT"),
        ("unix:", 2, "needs a path"),
    ] {
        let ran = bench.run(&["run", "echo.wat", "--listen", address]);
        assert_eq!(ran.code, Some(code), "{address}: {ran:?}");
        assert!(ran.err.contains(why), "{address}: {}", ran.err);
    }
}

#[test]
fn what_has_no_meaning_for_connections_is_refused() {
    let bench = Bench::new();
    std::fs::write(bench.path("echo.wat"), ECHO).unwrap();
    let refused = |module: &str, options: &[&str], code: i32| {
        let ran: Ran = bench.run(&[&["run", module, "--listen", "127.0.0.1:0"], options].concat());
        assert_eq!(ran.code, Some(code), "{options:?}: {ran:?}");
    };
    for options in [
        &["--journal", "j"][..],
        &["--failed", "f"],
        &["--retries", "1"],
        &["--input", "lines"],
        &["--id", "x"],
        &["--only", "1"],
        &["--result", "json"],
        &["--output", "json"],
        &["--map", "[1]"],
        &["--invoke", "_start", "--abi", "core"],
    ] {
        refused("echo.wat", options, if options.contains(&"--abi") { 3 } else { 2 });
    }
    // A function has no standard streams.
    refused("square.wat", &[], 3);
    refused("square.wat", &["--invoke", "square"], 3);
    refused("square.wat", &["--invoke", "square", "--abi", "core"], 2);
}

#[test]
fn a_dry_run_does_not_listen() {
    let bench = Bench::new();
    std::fs::write(bench.path("echo.wat"), ECHO).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = bench.run(&["run", "echo.wat", "--listen", &address, "--dry-run"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // A connection that is handed over needs no network of one's own.
    assert!(ran.out.contains("network-namespace") || !ran.out.contains("namespace"), "{}", ran.out);
}

#[test]
fn a_socket_with_a_path_is_served_and_removed() {
    let bench = Bench::new();
    std::fs::write(bench.path("echo.wat"), ECHO).unwrap();
    let path = bench.path("talk.sock");
    let command = bench.command(&["run", "echo.wat", "--listen", &format!("unix:{}", path.display()), "-j", "1"]);
    let service = Service::spawned(command, bench);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "hello");
    let records = service.stop();
    assert_eq!(records[0]["input"], json!(format!("unix:{}", path.display())));
    assert!(!path.exists());
}

#[test]
fn a_guest_can_wait_for_its_client_and_a_clock_together() {
    let service = Service::start(POLL, &["-j", "1"]);
    let heard = |says: bool| {
        let mut stream = service.client();
        if says {
            stream.write_all(b"here").unwrap();
        }
        let mut text = String::new();
        stream.read_to_string(&mut text).ok();
        text
    };
    assert_eq!(heard(false), "clock!\n");
    assert_eq!(heard(true), "client\n");
    assert_eq!(kinds(&service.stop(), "ok").count(), 2);
}

#[test]
fn more_clients_than_descriptors_are_all_served() {
    let bench = Bench::new();
    std::fs::write(bench.path("echo.wat"), ECHO).unwrap();
    let mut command = bench.command(&[]);
    let script = format!(
        "ulimit -n 40; exec {} run echo.wat --listen 127.0.0.1:0 -j 2 --window 100 --timeout 20s",
        binary().display()
    );
    let program = Command::new("sh");
    let environment: Vec<_> =
        command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    let folder = command.get_current_dir().unwrap().to_owned();
    command = program;
    command.args(["-c", &script]).env_clear().envs(environment).current_dir(folder).stdin(Stdio::null());
    let service = Service::spawned(command, bench);
    std::thread::scope(|scope| {
        for number in 0..150 {
            let service = &service;
            scope.spawn(move || {
                let stream = service.client();
                talk(&stream, &format!("client {number}"));
                leave(&stream);
            });
        }
    });
    let records = service.stop();
    assert_eq!((records.len(), kinds(&records, "ok").count()), (150, 150));
}

#[test]
fn arguments_name_the_client_and_programs_of_both_kinds_talk() {
    for module in ["echo.wasm", "echo-component.wasm"] {
        let Some(module) = guest(module) else { return };
        let service = Service::of(module.to_str().unwrap(), Bench::new(), &["-j", "2", "--", "{}"]);
        let (first, second) = (service.client(), service.client());
        talk(&first, "one\n");
        talk(&second, &"two\n".repeat(50_000)[..100_000]);
        (&second).write_all(b"\nQ\n").unwrap();
        let mut bye = String::new();
        (&second).read_to_string(&mut bye).unwrap();
        assert!(bye.ends_with("bye\n"), "{bye:?}");
        leave(&first);
        let records = service.stop();
        assert_eq!(kinds(&records, "ok").count(), 2, "{records:?}");
    }
}

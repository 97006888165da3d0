//! `--allow-net`: what a guest reaches with it and without, by the real binary
//! and real sockets; and what the lock-down leaves to native code then.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wpool::capabilities::Capabilities;
use wpool::sandbox::seccomp::{Files, Net};
use wpool::wire::message::{Abi, TaskSpec};
use wpool::{AsyncResult, CallError, Module, Pool};

use crate::command::{Bench, Ran};
use crate::guests::guest;
use crate::lockdown::{all_listed_are_allowed, all_others_are_dead, allowed, is_dead, order, tried_with};
use crate::support::{binary, children_of, spec};

/// More than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// The guest, unless guests are not built.
fn ports() -> Option<PathBuf> {
    guest("ports.wasm")
}

/// Calls of one of its functions, as records.
fn records(bench: &Bench, function: &str, items: &Value, options: &[&str]) -> Vec<Value> {
    let module = ports().expect("built");
    let (module, items) = (module.to_str().expect("text"), items.to_string());
    let line = ["run", module, "--invoke", function, "--starmap", &items, "--output", "records", "-j", "1"];
    let ran = bench.run(&[&line, options].concat());
    assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    ran.out.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

/// Refused for want of the grant, and says so.
#[track_caller]
fn assert_denied(record: &Value) {
    assert_eq!(record["kind"], "error", "{record}");
    assert_eq!(record["error"]["detail"]["denied"], json!(["--allow-net"]), "{record}");
    assert!(record["error"]["message"].as_str().expect("text").contains("--allow-net"), "{record}");
}

/// Says back what it hears, to as many clients as come.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                let mut stream = stream;
                let _gone = stream.read_to_end(&mut text).and_then(|_| stream.write_all(&text));
            });
        }
    });
    address
}

/// A listener that must not hear of anyone.
struct Silent(TcpListener);

impl Silent {
    fn at(address: &str) -> Option<Self> {
        let listener = TcpListener::bind(address).ok()?;
        listener.set_nonblocking(true).expect("a socket");
        Some(Self(listener))
    }

    fn heard_nothing(&self) -> bool {
        self.0.accept().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

/// Whether this system has IPv6 at all.
fn has_ipv6() -> bool {
    UdpSocket::bind("[::]:0").is_ok()
}

/// A port that nobody listens at, below those that the system gives out; no
/// two tests get the same.
fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 90) as u16 * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 1000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

#[test]
fn granted_addresses_are_reached_and_no_others() {
    if ports().is_none() {
        return;
    }
    let (bench, address) = (Bench::new(), echo());
    let port = address.port();
    let others: Vec<_> = [format!("127.0.0.2:{port}"), format!("[::1]:{port}")].map(|at| Silent::at(&at)).into();
    let silent = Silent::at("127.0.0.1:0").expect("a port");
    let other = silent.0.local_addr().expect("an address");
    let ungranted = [
        format!("127.0.0.2:{port}"),
        format!("[::1]:{port}"),
        format!("127.0.0.1:{}", port.wrapping_add(1)),
        format!("127.0.0.1:{}", port.wrapping_sub(1)),
        other.to_string(),
    ];
    let ungranted: Vec<_> = ungranted.into_iter().filter(|at| has_ipv6() || !at.starts_with('[')).collect();
    // Those that WASI has no way to say, whatever is granted.
    let unsayable = [format!("[::ffff:127.0.0.1]:{}", other.port()), format!("0.0.0.0:{}", other.port())];
    let all = [address.to_string()].into_iter().chain(ungranted.clone()).chain(unsayable).chain([address.to_string()]);
    let items: Vec<_> = all.map(|address| json!([address, "hello"])).collect();
    let grant = address.to_string();
    let records = records(&bench, "fetch", &json!(items), &["--allow-net", &grant]);
    for record in [&records[0], &records[records.len() - 1]] {
        assert_eq!((&record["kind"], &record["value"]), (&json!("ok"), &json!("hello")), "{record}");
    }
    records[1..=ungranted.len()].iter().for_each(assert_denied);
    for record in &records[ungranted.len() + 1..records.len() - 1] {
        assert_eq!(record["kind"], "error", "{record}");
    }
    assert!(others.iter().flatten().chain([&silent]).all(Silent::heard_nothing));
}

#[test]
fn without_a_grant_every_use_is_refused_and_names_the_flag() {
    if ports().is_none() {
        return;
    }
    let (bench, address) = (Bench::new(), echo().to_string());
    for (function, item) in [
        ("fetch", json!([[address, "hello"]])),
        ("datagram", json!([[address, "hello"]])),
        ("listen-at", json!([["127.0.0.1:0"]])),
        ("bind-at", json!([["127.0.0.1:0"]])),
        ("look-up", json!([["localhost"]])),
    ] {
        assert_denied(&records(&bench, function, &item, &[])[0]);
    }
}

#[test]
fn binding_and_listening_are_for_granted_addresses() {
    if ports().is_none() {
        return;
    }
    let (bench, port) = (Bench::new(), free());
    let at = |host: &str, port: u16| json!([format!("{host}:{port}")]);
    let grant = format!("127.0.0.1:{port}");
    let (next, before) = (port.wrapping_add(1), port.wrapping_sub(1));
    let items = json!([
        at("127.0.0.1", port),
        at("127.0.0.1", next),
        at("127.0.0.1", before),
        at("0.0.0.0", port),
        at("127.0.0.2", port),
        at(if has_ipv6() { "[::1]" } else { "127.0.0.3" }, port),
        at("127.0.0.1", 0),
        at("0.0.0.0", 0),
    ]);
    let listened = records(&bench, "listen-at", &items, &["--allow-net", &grant]);
    assert_eq!(listened[0]["value"], json!(grant), "{}", listened[0]);
    listened[1..].iter().for_each(assert_denied);
    // A free port is for sending from.
    let bound = records(&bench, "bind-at", &items, &["--allow-net", &grant]);
    assert_eq!(bound[0]["value"], json!(grant), "{}", bound[0]);
    bound[1..6].iter().for_each(assert_denied);
    assert!(bound[6..].iter().all(|record| record["kind"] == "ok"), "{bound:?}");
}

#[test]
fn datagrams_go_to_granted_addresses_and_come_back() {
    if ports().is_none() {
        return;
    }
    let bench = Bench::new();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let elsewhere = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let (address, other) = (socket.local_addr().expect("an address"), elsewhere.local_addr().expect("an address"));
    let answering = std::thread::spawn(move || {
        let mut block = [0; 64];
        for _client in 0..2 {
            let (length, from) = socket.recv_from(&mut block).expect("a datagram");
            socket.send_to(&block[..length], from).expect("sent");
        }
    });
    let grant = address.to_string();
    let items = json!([[grant, "hello"], [other.to_string(), "hello"]]);
    let sent = records(&bench, "datagram", &items, &["--allow-net", &grant]);
    assert_eq!(sent[0]["value"], "hello", "{}", sent[0]);
    assert_denied(&sent[1]);
    // After a connect, too.
    let wandered = records(&bench, "wander", &json!([[grant, other.to_string()]]), &["--allow-net", &grant]);
    assert_eq!(wandered[0]["kind"], "error", "{}", wandered[0]);
    assert!(wandered[0]["error"]["message"].as_str().expect("text").contains("hello; then"), "{}", wandered[0]);
    elsewhere.set_nonblocking(true).expect("a socket");
    assert!(elsewhere.recv(&mut [0; 8]).is_err(), "somebody was there");
    answering.join().expect("answered");
}

#[test]
fn a_datagram_server_hears_everyone_and_answers_whom_it_may() {
    if ports().is_none() {
        return;
    }
    let (bench, port) = (Bench::new(), free());
    let client = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let (server, own) = (format!("127.0.0.1:{port}"), client.local_addr().expect("an address").to_string());
    client.connect(&server).expect("an address");
    client.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket");
    for (grants, answered) in
        [(vec!["--allow-net", &server, "--allow-net", &own], true), (vec!["--allow-net", &server], false)]
    {
        let record = std::thread::scope(|scope| {
            let served = scope.spawn(|| records(&bench, "answer", &json!([[server]]), &grants).remove(0));
            let mut block = [0; 64];
            let mut heard = None;
            while !served.is_finished() {
                // Nobody may be there yet: that is an error, too.
                let _sent = client.send(b"hello");
                heard = heard.or(client.recv(&mut block).ok().map(|length| block[..length].to_vec()));
            }
            assert_eq!(heard.is_some(), answered);
            served.join().expect("served")
        });
        match answered {
            true => assert_eq!(record["value"], "hello", "{record}"),
            false => assert_denied(&record),
        }
    }
}

#[test]
fn names_are_resolved_by_the_host_and_only_those_granted() {
    if ports().is_none() {
        return;
    }
    let (bench, address) = (Bench::new(), echo());
    let grant = format!("localhost:{}", address.port());
    let fetched = records(&bench, "fetch", &json!([[grant, "by name"]]), &["--allow-net", &grant]);
    assert_eq!(fetched[0]["value"], "by name", "{}", fetched[0]);
    let names = json!([["localhost"], ["LOCALHOST."], ["127.0.0.1"], ["example.com"], ["localhost.example.com"], [""]]);
    let found = records(&bench, "look-up", &names, &["--allow-net", &grant]);
    for record in &found[..2] {
        assert!(record["value"].as_array().expect("addresses").contains(&json!("127.0.0.1")), "{record}");
    }
    assert_eq!(found[2]["value"], json!(["127.0.0.1"]), "{}", found[2]);
    found[3..5].iter().for_each(assert_denied);
    assert_eq!(found[5]["kind"], "error", "{}", found[5]);
    // Without end, without asking anyone.
    let flood = records(
        &bench,
        "look-up-often",
        &json!([["localhost", 20_000], ["x.example", 20_000]]),
        &["--allow-net", &grant],
    );
    assert_eq!((&flood[0]["value"], &flood[1]["value"]), (&json!(20_000), &json!(0)));
}

#[test]
fn sockets_left_open_are_closed_before_the_next_task() {
    if ports().is_none() {
        return;
    }
    let (bench, address) = (Bench::new(), format!("127.0.0.1:{}", free()));
    let items: Vec<_> = (0..20).map(|_| json!([address])).collect();
    let opened = records(&bench, "leave-open", &json!(items), &["--allow-net", &address]);
    assert!(opened.iter().all(|record| record["value"] == json!(address)), "{opened:?}");
}

#[test]
fn thousands_of_sockets_end_at_a_bound_and_cost_nobody_else() {
    if ports().is_none() {
        return;
    }
    let (bench, address) = (Bench::new(), echo().to_string());
    let hoarded = records(&bench, "hoard", &json!([[address, 5000], [address, 3]]), &["--allow-net", &address]);
    let count = hoarded[0]["value"].as_u64().expect("an error for the guest, no trap");
    assert!((100..128).contains(&count), "{count}");
    assert_eq!(hoarded[1]["value"], 3);
}

#[test]
fn a_peer_that_does_not_read_costs_one_timeout() {
    if ports().is_none() {
        return;
    }
    let bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (deaf, echo) = (listener.local_addr().expect("an address").to_string(), echo().to_string());
    let options = ["--allow-net", &deaf, "--allow-net", &echo, "--timeout", "1s"];
    let items = json!([[deaf, 10_000_000_000_u64], [echo, 100_000]]);
    let flooded = records(&bench, "flood", &items, &options);
    assert_eq!(flooded[0]["kind"], "timeout", "{}", flooded[0]);
    assert_eq!(flooded[1]["value"], 100_000, "{}", flooded[1]);
}

#[test]
fn a_task_that_waits_for_its_client_is_ended_by_its_timeout() {
    if ports().is_none() {
        return;
    }
    let (bench, port) = (Bench::new(), free());
    let grant = format!("127.0.0.1:{port}");
    for mode in ["kill", "trap"] {
        let options = ["--allow-net", &grant, "--timeout", "300ms", "--timeout-mode", mode];
        let waited = records(&bench, "serve", &json!([[port]]), &options);
        assert_eq!(waited[0]["kind"], "timeout", "{}", waited[0]);
    }
}

#[test]
fn grants_that_are_none_and_names_without_addresses_are_wrong_usage() {
    let bench = Bench::new();
    for (grant, why) in [
        ("127.0.0.1", "HOST:PORT"),
        ("*:80", "wildcards"),
        ("127.0.0.1:0", "port 0"),
        ("::1:80", "brackets"),
        ("nowhere.invalid:80", "cannot be resolved"),
    ] {
        let ran = bench.run(&["run", "square.wat", "--map", "[1]", "--allow-net", grant]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains("--allow-net") && ran.err.contains(why), "{grant}: {}", ran.err);
    }
}

#[test]
fn a_journal_knows_grants_by_their_names_not_by_their_addresses() {
    let bench = Bench::new();
    let line = ["run", "square.wat", "--map", "[1]", "--allow-net", "localhost:80", "--journal", "j"];
    assert_eq!(bench.run(&line).code, Some(0));
    let header: Value = serde_json::from_str(bench.read("j").lines().next().expect("a header")).expect("JSON");
    let net = &header["run"]["options"]["capabilities"]["net"];
    assert_eq!(*net, json!([{"host": "localhost", "first": 80, "last": 80}]));
    // Another grant is another run.
    let other = ["run", "square.wat", "--map", "[1]", "--allow-net", "localhost:81", "--journal", "j", "--resume"];
    assert_eq!(bench.run(&other).code, Some(2));
}

#[test]
fn an_initializer_that_reaches_the_network_is_not_kept() {
    let bench = Bench::new();
    let wat = r#"(module (global $g (mut i32) (i32.const 0))
        (func (export "init") (global.set $g (i32.const 7)))
        (func (export "run") (param i32) (result i32) (global.get $g)))"#;
    std::fs::write(bench.path("init.wat"), wat).unwrap();
    let line = ["--initializer", "init", "--allow-net", "127.0.0.1:80"];
    let ran = bench.run(&[&["run", "init.wat", "--map", "[1]", "--stats=json"][..], &line].concat());
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "[7]\n"), "{ran:?}");
    let again = bench.run(&[&["run", "init.wat", "--map", "[1]", "--stats=json"][..], &line].concat());
    assert!(again.err.contains(r#""cached":false"#), "{}", again.err);
    assert_eq!(bench.run(&[&["compile", "init.wat"][..], &line].concat()).code, Some(2));
}

#[test]
fn a_dry_run_shows_the_grant_and_the_layers_that_are_left() {
    let bench = Bench::new();
    let layers = |options: &[&str]| {
        let ran = bench.run(&[&["run", "square.wat", "--map", "[1]", "--dry-run"], options].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let line = ran.out.lines().find(|line| line.trim_start().starts_with("layers")).expect("layers").to_owned();
        (ran.out, line)
    };
    let (out, with) = layers(&["--allow-net", "127.0.0.1:8080-8082"]);
    assert!(out.contains("network  127.0.0.1 (127.0.0.1) port 8080-8082"), "{out}");
    assert!(!with.contains("network-namespace") && with.contains("seccomp"), "{with}");
    let (_, without) = layers(&[]);
    assert_eq!(without.replace("network-namespace, ", ""), with);
    // By port where they can be told; not at all where there are too many.
    let (_, all) = layers(&["--allow-net", "127.0.0.1:1-65535"]);
    assert!(!all.contains("landlock-network"), "{all}");
}

// ---- The lock-down under the grant -----------------------------------------

fn granting(net: &str) -> TaskSpec {
    let mut spec = spec(Abi::Core, "run");
    spec.capabilities = Capabilities::none().allow_net(net).expect("a grant");
    spec
}

#[test]
fn the_grant_allows_the_listed_calls_and_no_others() {
    all_others_are_dead(granting("127.0.0.1:1"), Files::None, Net::Sockets);
    all_listed_are_allowed(granting("127.0.0.1:1"), Net::Sockets);
}

#[test]
fn connections_allow_the_listed_calls_and_no_others() {
    let mut spec = spec(Abi::Core, "run");
    spec.capabilities.connections = true;
    all_others_are_dead(spec.clone(), Files::None, Net::Connections);
    all_listed_are_allowed(spec, Net::Connections);
}

#[test]
fn only_the_listed_kinds_of_sockets_and_options_are_there() {
    let number = |name: &str| {
        allowed(Files::None, Net::Sockets).into_iter().find(|(_, call)| call.name == name).expect("listed").0
    };
    let (socket, set, get) = (number("socket"), number("setsockopt"), number("getsockopt"));
    // A connection by the way of sending: landlock has no say in it.
    let fast_open = 0x2000_0000;
    let dead = [
        // Local, raw, of the kernel's own, of packets; sequenced; other protocols.
        order(socket, [1, 1, 0, 0, 0, 0]),
        order(socket, [2, 3, 0, 0, 0, 0]),
        order(socket, [16, 2, 0, 0, 0, 0]),
        order(socket, [17, 2, 0, 0, 0, 0]),
        order(socket, [2, 5, 0, 0, 0, 0]),
        order(socket, [2, 1, 262, 0, 0, 0]),
        order(socket, [2, 2, 136, 0, 0, 0]),
        // The device; a filter; a table of the firewall's; one's own protocol.
        order(set, [0, 1, 25, 0, 0, 0]),
        order(set, [0, 1, 26, 0, 0, 0]),
        order(set, [0, 0, 64, 0, 0, 0]),
        order(set, [0, 6, 31, 0, 0, 0]),
        order(get, [0, 1, 17, 0, 0, 0]),
        order(get, [0, 1, 30, 0, 0, 0]),
        order(number("sendto"), [0, 0, 0, fast_open, 4096, 16]),
        order(number("sendto"), [0, 0, 0, fast_open | 0x4000, 0, 0]),
        order(number("sendmsg"), [0, 4096, fast_open, 0, 0, 0]),
    ];
    for (order, outcome) in dead.iter().zip(tried_with(granting("127.0.0.1:1"), &dead)) {
        assert!(is_dead(&outcome), "{order}: {:?}", outcome.result);
    }
}

#[test]
fn native_code_connects_to_granted_ports_only() {
    let landlocked =
        Bench::new().run(&["doctor"]).out.lines().any(|line| line.trim_start().starts_with("yes  landlock-network"));
    if !landlocked {
        return crate::support::skipped("this system has no landlock for TCP");
    }
    let (granted, other) = (echo(), echo());
    let orders = [format!("\"reach {granted}\""), format!("\"reach {other}\"")];
    let outcomes = tried_with(granting(&granted.to_string()), &orders);
    let told: Vec<_> = outcomes
        .iter()
        .map(|outcome| String::from_utf8_lossy(&outcome.result.as_ref().unwrap().bytes).into_owned())
        .collect();
    assert_eq!(told, ["\"None\"", "\"Some(PermissionDenied)\""]);
}

// ---- The tutorials' programs -------------------------------------------------

/// A pool of the guest, granted these ports.
fn pool(ports: &[u16], module: PathBuf) -> Pool {
    let mut grants = Capabilities::none();
    for port in ports {
        grants = grants.allow_net(&format!("127.0.0.1:{port}")).expect("a grant");
    }
    let module = Module::from_file(module).expect("built");
    Pool::builder(module).processes(3).capabilities(grants).worker(binary()).build().expect("a pool")
}

/// A connection to a port, once it is served.
fn served(port: u16) -> TcpStream {
    let until = Instant::now() + PATIENCE;
    let stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < until, "nobody serves {port}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream
}

/// A client that waits until the port is served, then says a line.
fn visit(port: u16) -> String {
    let stream = served(port);
    let mut reader = BufReader::new(&stream);
    let (mut greeting, mut answer) = (String::new(), String::new());
    reader.read_line(&mut greeting).expect("a greeting");
    assert_eq!(greeting, format!("this is port {port}\n"));
    (&stream).write_all(format!("hello {port}\n").as_bytes()).expect("said");
    reader.read_line(&mut answer).expect("an answer");
    answer
}

fn visitors(ports: &[u16]) -> Vec<JoinHandle<String>> {
    ports.iter().copied().map(|port| std::thread::spawn(move || visit(port))).collect()
}

fn said(ports: &[u16]) -> Vec<String> {
    ports.iter().map(|port| format!("hello {port}")).collect()
}

/// A way of calling all ports at once.
type Call = fn(&Pool, &[u16]) -> Result<Vec<String>, CallError>;

#[test]
fn p15_tasks_serve_ports_by_every_call() {
    let Some(module) = ports() else { return };
    let ports: Vec<u16> = (0..3).map(|_| free()).collect();
    let pool = pool(&ports, module);
    // One after the other: a visitor who came in another order would wait.
    for port in &ports {
        let visitor = visitors(&[*port]).remove(0);
        let heard: String = pool.apply("serve", port).expect("served");
        assert_eq!(heard, format!("hello {port}"));
        assert_eq!(visitor.join().expect("visited"), format!("you said hello {port}\n"));
    }
    let call: [(&str, Call); 4] = [
        ("map", |pool, ports| pool.map("serve", ports.to_vec())),
        ("imap", |pool, ports| pool.imap("serve", ports.to_vec())?.collect()),
        ("map_async", |pool, ports| {
            let result: AsyncResult<Vec<String>> = pool.map_async("serve", ports.to_vec())?;
            result.get()
        }),
        ("imap_unordered", |pool, ports| {
            let mut heard: Vec<String> = pool.imap_unordered("serve", ports.to_vec())?.collect::<Result<_, _>>()?;
            heard.sort_by_key(|text| ports.iter().position(|port| text.ends_with(&port.to_string())));
            Ok(heard)
        }),
    ];
    for (name, call) in call {
        // Any order will do: all are served at once.
        let visitors = visitors(&ports);
        assert_eq!(call(&pool, &ports).expect(name), said(&ports), "{name}");
        for (visitor, said) in visitors.into_iter().zip(said(&ports)) {
            assert_eq!(visitor.join().expect("visited"), format!("you said {said}\n"), "{name}");
        }
    }
}

#[test]
fn what_reaches_the_network_is_never_run_twice() {
    let Some(module) = ports() else { return };
    let (bench, port) = (Bench::new(), free());
    let (grant, item) = (format!("127.0.0.1:{port}"), format!("[{port}]"));
    let module = module.to_str().expect("text");
    let line = ["run", module, "--invoke", "serve", "--map", &item, "--allow-net", &grant, "--output", "records"];
    let host = bench.command(&[&line[..], &["-j", "1"]].concat()).spawn().expect("started");
    let stream = served(port);
    // It has greeted, so it has begun.
    BufReader::new(&stream).read_line(&mut String::new()).expect("a greeting");
    for worker in children_of(host.id()) {
        let worker = rustix::process::Pid::from_raw(worker).expect("a process");
        rustix::process::kill_process(worker, rustix::process::Signal::KILL).expect("it is there");
    }
    let ran = Ran::from(host.wait_with_output().expect("ended"));
    let record: Value = serde_json::from_str(&ran.out).expect("a record");
    assert_eq!((&record["kind"], &record["attempts"]), (&json!("worker-crashed"), &json!(1)), "{record}");
    assert_eq!(record["error"]["detail"]["reason"], "maybe-ran", "{record}");
}

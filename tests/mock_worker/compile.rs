//! Compiling, honestly or as the module's text says: `;;lie NAME`.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use wpool::describe::Description;
use wpool::wire::frame::{FrameKind, Head};
use wpool::wire::message::{CompileSetup, Compiled, Refusal, RefusalCause};

use crate::{frame, send};

pub fn compile(host: BorrowedFd<'_>, setup: &CompileSetup, descriptors: &[OwnedFd]) -> io::Result<()> {
    let file = |at: usize| descriptors[at].try_clone().map(File::from);
    let (module, artifact) = (file(0)?, file(1)?);
    let mut bytes = vec![0; module.metadata()?.len() as usize];
    module.read_exact_at(&mut bytes, 0)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let order = text.lines().find_map(|line| line.strip_prefix(";;lie ")).unwrap_or_default();
    let (description, code) =
        wpool::runtime::compile(&bytes, setup).map_err(|refusal| io::Error::other(refusal.message))?;
    let control = |kind| Head::control(kind, 0);
    let told = |description| serde_json::to_vec(&Compiled { description });
    match order {
        // Code that was never written.
        "empty" => return send(host, &frame(control(FrameKind::Compiled), &told(description)?)),
        "kind" => return send(host, &frame(control(FrameKind::Done), &told(description)?)),
        "nonsense" => return send(host, &frame(control(FrameKind::Compiled), b"[1,2")),
        "deep" => {
            let deep = format!("{{\"description\":{}", "[".repeat(1_000_000));
            return send(host, &frame(control(FrameKind::Compiled), deep.as_bytes()));
        }
        "huge" => {
            let mut bytes = Vec::new();
            Head::control(FrameKind::Compiled, u32::MAX).put(&mut bytes);
            return send(host, &bytes);
        }
        "stall" => {
            let whole = frame(control(FrameKind::Compiled), &told(description)?);
            send(host, &whole[..whole.len() / 2])?;
            loop {
                std::thread::park();
            }
        }
        "large" => artifact.set_len(setup.limits.memory + 1)?,
        "loud-refusal" => {
            let message = "\u{1b}[2J\u{202e}\r\nerror: nothing is wrong\n".repeat(1_000);
            let refusal = serde_json::to_vec(&Refusal { cause: RefusalCause::Module, message })?;
            return send(host, &frame(control(FrameKind::Refused), &refusal));
        }
        "loud-names" => {
            write(&artifact, &code)?;
            return send(host, &frame(control(FrameKind::Compiled), &told(loud(description))?));
        }
        _ => write(&artifact, &code)?,
    }
    send(host, &frame(control(FrameKind::Compiled), &told(description)?))
}

fn write(artifact: &File, code: &[u8]) -> io::Result<()> {
    artifact.write_all_at(code, 0)
}

/// No function has the name that is asked for: the others are listed.
fn loud(mut description: Description) -> Description {
    for function in &mut description.functions {
        function.name = "\u{1b}]0;x\u{7}\u{9b}1m\u{202e}\n".to_owned();
    }
    description
}

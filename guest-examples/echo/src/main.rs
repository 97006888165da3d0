//! Talks to one client over its standard streams, as inetd's programs do: says
//! back what it reads, until the client shuts down or says "Q". Knows nothing
//! of sockets, nor of the pool.

use std::io::{self, Read, Write};

/// What ends the talk, as a line.
const QUIT: &[u8] = b"Q";

fn main() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut block = [0; 16 << 10];
    loop {
        let length = match input.read(&mut block)? {
            0 => return Ok(()),
            length => length,
        };
        let text = &block[..length];
        let quits = text.split(|byte| *byte == b'\n').any(|line| line.trim_ascii_end() == QUIT);
        if quits {
            output.write_all(b"bye\n")?;
            return output.flush();
        }
        output.write_all(text)?;
        output.flush()?;
    }
}

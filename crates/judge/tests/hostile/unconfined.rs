//! The test of the test: without walls, what is refused behind them succeeds.

use std::{
    fs::{self, File},
    io::{self, Read},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::{Failed, Trial};
use protocol::{
    CHANNEL_VARIABLE, DType, DeviceKind, Question, RawTensor, Reply, VERSION, Value, receive, send,
};

use crate::{corpus::Row, scene::Scene};

const TOKEN: &str = "no-secret";
const PATIENCE: Duration = Duration::from_secs(20);
const REPLY_BYTES: usize = 1 << 20;

/// The trial of a row whose forbidden things do no harm.
pub(crate) fn trial(row: &'static Row) -> Option<Trial> {
    (!row.expect.unconfined.is_empty()).then(|| row.trial("unconfined", false, possible))
}

fn possible(row: &'static Row) -> Result<(), Failed> {
    let scene = Scene::new(row.id)?;
    let prints = scene.path().join("prints");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = format!("tcp:{}:{TOKEN}", listener.local_addr()?.port());
    let mut child = Command::new(&scene.program)
        .current_dir(scene.path())
        .env(CHANNEL_VARIABLE, address)
        .stdin(Stdio::null())
        .stdout(File::create(&prints)?)
        .spawn()?;
    let asked = ask(&listener, &mut child);
    child.kill()?;
    child.wait()?;
    let printed = fs::read_to_string(&prints)?;
    let reply = asked.map_err(|error| {
        format!("{}; it printed {printed}", error.message().unwrap_or_default())
    })?;
    let possible = |name: &String| printed.contains(&format!("{name}: worked\n"));
    let impossible: Vec<_> = row.expect.unconfined.iter().filter(|name| !possible(name)).collect();
    if !impossible.is_empty() {
        let sentence = "these prove nothing, since they fail without walls, too";
        return Err(format!("{sentence}: {impossible:?}; it printed {printed}").into());
    }
    match reply {
        Reply::Error(why) if why.contains("possible") => Ok(()),
        other => Err(format!("it does not say what was possible: {other:?}").into()),
    }
}

/// Asks the documented example.
fn ask(listener: &TcpListener, child: &mut Child) -> Result<Reply, Failed> {
    let mut channel = accept(listener, child)?;
    channel.set_read_timeout(Some(PATIENCE))?;
    channel.read_exact(&mut [0; TOKEN.len()])?;
    send(&mut channel, 1, &Question::Open { version: VERSION, device: DeviceKind::Cpu })?;
    receive::<Reply>(&mut channel, REPLY_BYTES)?;
    let vectors = |x: f32| {
        let values = [x, 0., 0., 0., 0., 0., 0., 0.];
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Value::Tensor(RawTensor::new(DType::F32, &[1, 1, 2, 4], bytes))
    };
    let args = vec![vectors(2.), vectors(3f32.ln()), Value::None];
    let question = Question::Call { part: crate::judged::PART.to_owned(), args };
    send(&mut channel, 2, &question)?;
    Ok(receive(&mut channel, REPLY_BYTES)?.1)
}

fn accept(listener: &TcpListener, child: &mut Child) -> Result<TcpStream, Failed> {
    let deadline = Instant::now() + PATIENCE;
    listener.set_nonblocking(true)?;
    loop {
        match listener.accept() {
            Ok((channel, _)) => {
                channel.set_nonblocking(false)?;
                return Ok(channel);
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
            Err(_) if Instant::now() > deadline => return Err("it did not connect".into()),
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
        if let Some(status) = child.try_wait()? {
            return Err(format!("it ended: {status}").into());
        }
    }
}

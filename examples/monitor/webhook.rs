//! A webhook inside of the program, for when there is no other. It is often busy, and hangs up now and then, as in real life.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures_lite::AsyncWriteExt;
use peu::net::{TcpListener, TcpStream};

use crate::alerts::Alert;
use crate::http::{self, Endpoint};

/// Of so many posts, one is answered that it comes too early.
const BUSY: u64 = 4;
/// Of so many posts, one has no answer.
const HANGS_UP: u64 = 10;

/// Listens until the runtime ends.
pub(crate) struct Webhook {
    endpoint: Endpoint,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    posts: u64,
    /// By their ids, so that one that comes twice is there once.
    alerts: BTreeMap<String, Alert>,
}

impl Webhook {
    pub(crate) async fn start() -> Result<Self, Box<dyn std::error::Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}/alerts", listener.local_addr()?).parse()?;
        let taken = Arc::<Mutex<Taken>>::default();
        let shared = Arc::clone(&taken);
        drop(peu::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                // A client that leaves ends its connection, and nothing else.
                drop(peu::spawn(
                    async move { drop(serve(stream, &shared).await) },
                ));
            }
        }));
        Ok(Self { endpoint, taken })
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// Tells how many alerts each airport had, and the worst.
    pub(crate) fn tell(&self, airports: &[&str]) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        println!("the webhook has {} alerts:", taken.alerts.len());
        for airport in airports {
            let alerts = || {
                taken
                    .alerts
                    .values()
                    .filter(|alert| alert.airport == *airport)
            };
            let troubled = |alert: &&Alert| alert.late + alert.cancelled;
            let Some(worst) = alerts().max_by_key(troubled) else {
                println!("{airport}  none");
                continue;
            };
            println!(
                "{airport} {:4}, the worst from {} to {}: of {} flights {} were an hour late and {} cancelled; {}",
                alerts().count(),
                worst.from,
                worst.until,
                worst.departures,
                worst.late,
                worst.cancelled,
                weather(worst)
            );
        }
    }
}

fn weather(alert: &Alert) -> String {
    let told = [
        alert.gust.map(|gust| format!("gusts of {gust:.0} mph")),
        alert
            .visibility
            .map(|miles| format!("visibility {miles} miles")),
        alert
            .rain
            .filter(|inches| *inches > 0.0)
            .map(|inches| format!("rain up to {inches} inches an hour")),
    ];
    told.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

async fn serve(mut stream: TcpStream, taken: &Mutex<Taken>) -> io::Result<()> {
    let body = http::request(&mut stream).await?;
    let status = {
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.posts += 1;
        match serde_json::from_slice::<Alert>(&body) {
            _ if taken.posts.is_multiple_of(HANGS_UP) => return Ok(()),
            _ if taken.posts.is_multiple_of(BUSY) => "503 Service Unavailable",
            Ok(alert) => {
                taken.alerts.insert(alert.id.clone(), alert);
                "204 No Content"
            }
            Err(_) => "422 Unprocessable Content",
        }
    };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await
}

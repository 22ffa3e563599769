//! Tasks that start tasks, and leave them in every way there is: joined, detached, aborted, in sets and groups dropped half-way.

use crate::actions::{act, calm, step_aside};
use crate::random::Random;
use crate::world::World;
use peu::Handle;
use peu::task::{JoinHandle, JoinSet, group};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

/// A task and all that it starts, `depth` generations. With a handle of another runtime, some of them live there.
pub(crate) fn grow(
    mut random: Random,
    world: Arc<World>,
    depth: usize,
    beside: Option<Handle>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let living = world.enter();
    Box::pin(async move {
        // Dropped after all else: whoever sees it gone sees everything gone.
        let _living = living;
        for _ in 0..random.below(4) {
            act(&mut random, &world).await;
        }
        if depth > 0 {
            let mut node = Node {
                random,
                world,
                depth,
                beside,
            };
            node.branch().await;
        }
    })
}

struct Node {
    random: Random,
    world: Arc<World>,
    depth: usize,
    beside: Option<Handle>,
}

impl Node {
    async fn branch(&mut self) {
        let count = self.random.below(4);
        match self.random.below(5) {
            0 => self.join(count).await,
            1 => (0..count).for_each(|_| drop(self.start())),
            2 => self.abort_some(count).await,
            3 => self.drop_a_set(count).await,
            _ => self.fail_a_group(count).await,
        }
    }

    async fn join(&mut self, count: usize) {
        let children: Vec<_> = (0..count).map(|_| self.start()).collect();
        for child in children {
            calm(child.await);
        }
    }

    async fn abort_some(&mut self, count: usize) {
        let children: Vec<_> = (0..count).map(|_| self.start()).collect();
        step_aside(&mut self.random).await;
        for child in children {
            if self.random.one_in(2) {
                child.abort();
            }
            if self.random.one_in(2) {
                calm(child.await);
            }
        }
    }

    /// Waits for some of a set's tasks; the rest is aborted by its drop.
    async fn drop_a_set(&mut self, count: usize) {
        let mut set = JoinSet::new();
        for _ in 0..count {
            set.insert(self.start());
        }
        for _ in 0..self.random.below(count + 1) {
            set.join_next().await.map(calm);
        }
    }

    /// A group whose last task may fail, or whose body does, which ends the others.
    async fn fail_a_group(&mut self, count: usize) {
        let fails = self.random.one_in(2);
        let children: Vec<_> = (0..count).map(|_| self.child()).collect();
        let mut random = self.random.fork();
        let ended: io::Result<()> = group(async |group| {
            for child in children {
                group.spawn(async move {
                    child.await;
                    Ok(())
                });
            }
            step_aside(&mut random).await;
            group.spawn(async move {
                if fails {
                    Err(io::ErrorKind::Other.into())
                } else {
                    Ok(())
                }
            });
            if random.one_in(4) {
                return Err(io::ErrorKind::Other.into());
            }
            Ok(())
        })
        .await;
        assert!(!fails || ended.is_err());
    }

    fn start(&mut self) -> JoinHandle<()> {
        let child = self.child();
        match &self.beside {
            Some(beside) if self.random.one_in(8) => beside.spawn(child),
            _ => peu::spawn(child),
        }
    }

    fn child(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        grow(
            self.random.fork(),
            self.world.clone(),
            self.depth - 1,
            self.beside.clone(),
        )
    }
}

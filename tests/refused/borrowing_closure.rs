//! A blocking closure that borrows from whoever starts it.
//!
//! refused: may outlive the current function

fn main() {
    let runtime = peu::Runtime::builder().workers(1).build().unwrap();
    let text = "owned".to_owned();
    runtime.handle().spawn_blocking(move || text.len()); // right
    runtime.handle().spawn_blocking(|| text.len()); // wrong, here
}

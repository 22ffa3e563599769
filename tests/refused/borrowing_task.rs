//! A task that borrows from whoever starts it.
//!
//! refused: may outlive the current function

fn main() {
    let runtime = peu::Runtime::builder().workers(1).build().unwrap();
    let text = "owned".to_owned();
    runtime.spawn(async move { text.len() }); // right
    runtime.spawn(async { text.len() }); // wrong, here
}

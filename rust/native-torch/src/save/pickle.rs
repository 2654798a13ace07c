//! The opcodes of pickle's protocol 2 that TorchScript archives are made of.

/// A pickle that is being written.
pub(super) struct Pickle(Vec<u8>);

impl Pickle {
    /// An empty pickle of protocol 2.
    pub fn new() -> Self {
        Self(vec![0x80, 2])
    }

    /// A class or function.
    pub fn global(&mut self, module: &str, name: &str) {
        self.0.extend(format!("c{module}\n{name}\n").bytes());
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        self.0.push(b'X');
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.bytes());
    }

    /// An integer.
    pub fn int(&mut self, value: usize) {
        match i32::try_from(value) {
            Ok(value) => {
                self.0.push(b'J');
                self.0.extend(value.to_le_bytes());
            }
            Err(_) => {
                self.0.extend([0x8a, 8]);
                self.0.extend((value as u64).to_le_bytes());
            }
        }
    }

    /// A truth value.
    pub fn truth(&mut self, value: bool) {
        self.0.push(if value { 0x88 } else { 0x89 });
    }

    /// A tuple of what `items` writes.
    pub fn tuple(&mut self, items: impl FnOnce(&mut Self)) {
        self.0.push(b'(');
        items(self);
        self.0.push(b't');
    }

    /// A storage: what the topmost tuple stands for.
    pub fn persistent(&mut self) {
        self.0.push(b'Q');
    }

    /// What the callable below the topmost tuple gives for it.
    pub fn reduce(&mut self) {
        self.0.push(b'R');
    }

    /// An object of a class, with attributes that `attributes` writes in pairs.
    pub fn object(&mut self, module: &str, class: &str, attributes: impl FnOnce(&mut Self)) {
        self.global(module, class);
        self.0.extend(b")\x81}(");
        attributes(self);
        self.0.extend(b"ub");
    }

    /// Remembers the topmost value under a number.
    pub fn remember(&mut self, number: usize) {
        self.0.push(b'r');
        self.0.extend((number as u32).to_le_bytes());
    }

    /// The value that is remembered under a number.
    pub fn recall(&mut self, number: usize) {
        self.0.push(b'j');
        self.0.extend((number as u32).to_le_bytes());
    }

    /// The bytes, when one value is left.
    pub fn finish(mut self) -> Vec<u8> {
        self.0.push(b'.');
        self.0
    }
}

//! The networks of the table, with weights that look random.

use native_torch::{
    graph::{Builder, Conv, Dim, Graph, MaxPool, Op, Unary, ValueId},
    tensor::Tensor,
};

/// Numbers in [-scale, scale) that look random.
pub fn numbers(count: usize, scale: f64) -> Vec<f64> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| scale * next()).collect()
}

/// A graph under construction. The widths fit and the shapes are legal, so that nothing fails.
struct Net {
    b: Builder,
    /// Operations of the products so far, and the elements of the weights.
    operations: f64,
    weights: usize,
}

impl Net {
    fn new() -> Self {
        Self { b: Builder::new(), operations: 0.0, weights: 0 }
    }

    fn sizes(&self, x: ValueId) -> Vec<usize> {
        self.b.ty(x).sizes().expect("all sizes are given")
    }

    fn parameter(&mut self, sizes: &[usize], fan: usize) -> ValueId {
        let count: usize = sizes.iter().product();
        self.weights += count;
        let numbers: Vec<f32> = numbers(count, (fan as f64).sqrt().recip()).iter().map(|&v| v as f32).collect();
        self.b.parameter("weight", Tensor::from_slice(sizes, &numbers))
    }

    fn linear(&mut self, x: ValueId, output: usize) -> ValueId {
        let sizes = self.sizes(x);
        let input = sizes[sizes.len() - 1];
        let rows: usize = sizes[..sizes.len() - 1].iter().product();
        self.operations += 2.0 * (rows * input * output) as f64;
        let (weight, bias) = (self.parameter(&[output, input], input), self.parameter(&[output], input));
        self.b.linear(x, weight, Some(bias)).expect("the widths fit")
    }

    fn conv(&mut self, x: ValueId, out: usize, kernel: usize, stride: usize) -> ValueId {
        let channels = self.sizes(x)[1];
        let fan = channels * kernel * kernel;
        let (weight, bias) = (self.parameter(&[out, channels, kernel, kernel], fan), self.parameter(&[out], fan));
        let padding = vec![(kernel / 2, kernel / 2); 2];
        let conv = Conv { stride: vec![stride; 2], padding, dilation: vec![1; 2], groups: 1 };
        let y = self.b.node(Op::Conv(conv), &[x, weight, bias]).expect("the channels fit");
        self.operations += 2.0 * (self.sizes(y).iter().product::<usize>() * fan) as f64;
        y
    }

    fn unary(&mut self, unary: Unary, x: ValueId) -> ValueId {
        self.b.unary(unary, x).expect("an element-wise function takes any shape")
    }

    fn pool(&mut self, x: ValueId) -> ValueId {
        let pool = MaxPool {
            kernel: vec![2; 2],
            stride: vec![2; 2],
            padding: vec![0; 2],
            dilation: vec![1; 2],
            ceil_mode: false,
        };
        self.b.node(Op::MaxPool(pool), &[x]).expect("an image has planes")
    }

    fn flatten(&mut self, x: ValueId) -> ValueId {
        self.b.node(Op::Flatten { start: 1, end: 3 }, &[x]).expect("an image has four dimensions")
    }

    fn finish(self, name: &str, y: ValueId) -> Case {
        let graph = self.b.finish(&[("y", y)]).expect("there is an output");
        Case { name: name.to_owned(), graph, operations: self.operations, weights: self.weights }
    }
}

/// A network with what f costs.
pub struct Case {
    /// As tables call it.
    pub name: String,
    /// Of known sizes.
    pub graph: Graph,
    /// Operations of the products in f.
    pub operations: f64,
    /// Elements of the weights.
    pub weights: usize,
}

fn sizes(sizes: &[usize]) -> Vec<Dim> {
    sizes.iter().map(|&d| Dim::Size(d)).collect()
}

/// Linear layers with a function between, on so many rows of a batch; none for a vector.
pub fn layers(widths: &[usize], unary: Unary, batch: Option<usize>) -> Case {
    let mut net = Net::new();
    let shape: Vec<usize> = batch.into_iter().chain([widths[0]]).collect();
    let mut h = net.b.input("x", sizes(&shape));
    for (i, &width) in widths[1..].iter().enumerate() {
        if i > 0 {
            h = net.unary(unary, h);
        }
        h = net.linear(h, width);
    }
    let text: Vec<String> = widths.iter().map(usize::to_string).collect();
    let batch = batch.map_or(String::new(), |batch| format!(", batch of {batch}"));
    net.finish(&format!("{} {}{batch}", text.join("-"), unary.name()), h)
}

/// Two convolutions and two linear layers on a 28 x 28 image.
pub fn digits(unary: Unary) -> Case {
    let mut net = Net::new();
    let mut h = net.b.input("x", sizes(&[1, 1, 28, 28]));
    for channels in [16, 32] {
        h = net.conv(h, channels, 3, 1);
        h = net.unary(unary, h);
        h = net.pool(h);
    }
    h = net.flatten(h);
    h = net.linear(h, 64);
    h = net.unary(unary, h);
    h = net.linear(h, 10);
    net.finish(&format!("CNN 28 x 28 {}", unary.name()), h)
}

/// Two convolutions that keep the image: J and H are sparse.
pub fn filter(size: usize) -> Case {
    let mut net = Net::new();
    let x = net.b.input("x", sizes(&[1, 1, size, size]));
    let h = net.conv(x, 8, 3, 1);
    let h = net.unary(Unary::Tanh, h);
    let y = net.conv(h, 1, 3, 1);
    net.finish(&format!("filter {size} x {size} tanh"), y)
}

/// As ResNet-18: four stages of residual blocks with a bottleneck of strides, on a 224 x 224 image.
pub fn residual() -> Case {
    let mut net = Net::new();
    let x = net.b.input("x", sizes(&[1, 3, 224, 224]));
    let mut h = net.conv(x, 64, 7, 2);
    h = net.unary(Unary::Relu, h);
    h = net.pool(h);
    for (stage, channels) in [64, 128, 256, 512].into_iter().enumerate() {
        for block in 0..2 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let shortcut = if stride == 2 { net.conv(h, channels, 1, 2) } else { h };
            let inner = net.conv(h, channels, 3, stride);
            let inner = net.unary(Unary::Relu, inner);
            let inner = net.conv(inner, channels, 3, 1);
            h = net.b.add(inner, shortcut).expect("the shapes are the same");
            h = net.unary(Unary::Relu, h);
        }
    }
    for _ in 0..2 {
        h = net.pool(h);
    }
    h = net.flatten(h);
    let y = net.linear(h, 1000);
    net.finish("residual CNN 224 x 224 relu", y)
}

/// A function of each element alone.
pub fn elements(count: usize, unary: Unary) -> Case {
    let mut net = Net::new();
    let x = net.b.input("x", sizes(&[count]));
    let y = net.unary(unary, x);
    net.finish(&format!("{} of {count}", unary.name()), y)
}

/// Maximum pooling of 16 planes, of windows of this size that stand so far apart.
pub fn pools(size: usize, kernel: usize, stride: usize) -> Case {
    let mut net = Net::new();
    let x = net.b.input("x", sizes(&[1, 16, size, size]));
    let pool = MaxPool {
        kernel: vec![kernel; 2],
        stride: vec![stride; 2],
        padding: vec![kernel / 2 * (kernel % 2); 2],
        dilation: vec![1; 2],
        ceil_mode: false,
    };
    let y = net.b.node(Op::MaxPool(pool), &[x]).expect("an image has planes");
    net.finish(&format!("max pool {kernel} / {stride} of 16 x {size} x {size}"), y)
}

/// One convolution with a kernel of 3 x 3.
pub fn convolution(channels: usize, out: usize, size: usize) -> Case {
    let mut net = Net::new();
    let x = net.b.input("x", sizes(&[1, channels, size, size]));
    let y = net.conv(x, out, 3, 1);
    net.finish(&format!("convolution {channels} to {out}, {size} x {size}"), y)
}

/// Softmax of rows.
pub fn softmax(rows: usize, length: usize) -> Case {
    let mut net = Net::new();
    let x = net.b.input("x", sizes(&[rows, length]));
    let y = net.b.node(Op::Softmax { dim: 1 }, &[x]).expect("the dimension is there");
    net.finish(&format!("softmax of {rows} x {length}"), y)
}

"""The models that `make.py` writes: each layer with several settings of each attribute, whole nets, and models that
a reader refuses or takes as custom layers. One file for each family; to add a family, add its functions to `layers`."""

from . import activation, conv, linear, norm, old, pool, reshape, spatial
from .inputs import inputs
from .files import files
from .nets import nets
from .refused import refused


def layers():
    return [
        *linear.linear(),
        *conv.conv2d(),
        *pool.avg_pool2d(),
        *pool.max_pool2d(),
        *norm.layer_norm(),
        *norm.batch_norm(),
        *norm.instance_norm(),
        *norm.group_norm(),
        *norm.rms_norm(),
        *norm.local_response_norm(),
        *reshape.flatten(),
        *reshape.dropout_and_identity(),
        *spatial.spatial(),
        *activation.relus(),
        *activation.smooth_activations(),
        *activation.softmax(),
        *activation.softplus(),
        *activation.element_wise(),
        *activation.shares(),
        *activation.gates(),
        *old.old_files(),
    ]

"""The architectures of the paper's Figure 3 from torchvision, with stems for small images.

At `IMAGENET_SIZE` pixels and more they are torchvision's own. Below, nothing is discarded before the first block, as in
the usual CIFAR variants: convolutions of the stem are 3x3 with stride 1, and its pooling is removed. Each function
takes the channels and the height of an image, and returns a body from images to representations (the input of the last
linear layer) and the width of the representations. Parameters keep torchvision's names.

torchvision takes two seconds to import, so it is imported only if one of these architectures is built.
"""

from collections import OrderedDict

from torch import nn

from nrf_ray.models.catalogue import IMAGENET_SIZE


def vgg16(channels: int, size: int) -> tuple[nn.Module, int]:
    """Return VGG-16 with BatchNorm. Small images are pooled to one position of 512 channels, which the head reads."""
    from torchvision.models.vgg import VGG, cfgs, make_layers

    features = make_layers(cfgs["D"], batch_norm=True)
    features[0] = nn.Conv2d(channels, 64, 3, padding=1)
    if size >= IMAGENET_SIZE:
        network = VGG(features)
        del network.classifier[-1]
        return network, 4096
    for layer in features:
        if isinstance(layer, nn.MaxPool2d):
            layer.ceil_mode = True  # 28 pixels and fewer leave one position too
    last = OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
    return nn.Sequential(OrderedDict(features=features) | last), 512


def inception_v3(channels: int, size: int) -> tuple[nn.Module, int]:
    """Return Inception-v3 without its auxiliary head. For small images every layer of the stem keeps their size."""
    from torchvision.models.inception import BasicConv2d, Inception3

    network = Inception3(aux_logits=False, init_weights=True)
    if size >= IMAGENET_SIZE:
        if channels != 3:
            network.Conv2d_1a_3x3 = BasicConv2d(channels, 32, kernel_size=3, stride=2)
    else:
        network.Conv2d_1a_3x3 = BasicConv2d(channels, 32, kernel_size=3, padding=1)
        network.Conv2d_2a_3x3.conv.padding = network.Conv2d_4a_3x3.conv.padding = (1, 1)
        network.maxpool1 = network.maxpool2 = nn.Identity()
    network.fc = nn.Identity()
    return network, 2048


def resnet(channels: int, size: int, name: str) -> tuple[nn.Module, int]:
    """Return the ResNet that torchvision calls `name`."""
    from torchvision import models

    network = models.get_model(name, weights=None)
    if size >= IMAGENET_SIZE:
        network.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    else:
        network.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        network.maxpool = nn.Identity()
    width = network.fc.in_features
    network.fc = nn.Identity()
    return network, width


def densenet121(channels: int, size: int) -> tuple[nn.Module, int]:
    """Return DenseNet-121, growth 32."""
    from torchvision import models

    network = models.densenet121()
    features = network.features
    if size >= IMAGENET_SIZE:
        features.conv0 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    else:
        features.conv0 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        features.pool0 = nn.Identity()
    last = OrderedDict(activation=nn.ReLU(inplace=True), pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
    return nn.Sequential(OrderedDict(features=features) | last), network.classifier.in_features

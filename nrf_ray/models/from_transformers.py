"""Pretrained encoders of the transformers library, as bodies for texts embedded with the encoder's own word vectors."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nrf_ray.errors import ConfigError, one_line
from nrf_ray.models.catalogue import ENCODER, most_vectors
from nrf_ray.models.texts import average


class EncoderBody(nn.Module):
    """Body that averages an encoder's last hidden states over the words. Its input is word vectors, not token ids."""

    def __init__(self, encoder: nn.Module, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = dict(config)
        """Config that builds the same encoder again, without its weights."""

    def forward(self, vectors: Tensor, words: Tensor) -> Tensor:
        """Return representations [b, width]."""
        states = self.encoder(inputs_embeds=vectors, attention_mask=words.long()).last_hidden_state
        return average(states, words)


def encoder_body(encoder: Path | Mapping[str, Any], length: int, width: int) -> tuple[nn.Module, int]:
    """Return the encoder in the folder `encoder`, or an encoder of this config with random weights, and its width.

    The encoder's word embeddings and pooler are removed, since they are not used. Weights are read from safetensors.

    Raises:
        ConfigError: transformers is not installed or cannot build the encoder, or the encoder does not accept texts of
            this length or width.
    """
    if importlib.util.find_spec("transformers") is None:
        raise ConfigError(f"{ENCODER} needs the transformers library: pip install 'nrf_ray[text]'")
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        if isinstance(encoder, Path):
            made, told = AutoModel.from_pretrained(
                encoder,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                attn_implementation="eager",
                output_loading_info=True,
            )
            _check_whole(made, told, encoder)
        else:
            config = AutoConfig.for_model(**encoder)
            made = AutoModel.from_config(config, dtype=torch.float32, attn_implementation="eager")
    except ConfigError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ConfigError(f"the encoder {encoder} cannot be built: {one_line(error, 300)}") from error
    finally:
        logging.set_verbosity(verbosity)
    taken = made.get_input_embeddings().weight.shape[1]
    limit = most_vectors(made.config.to_dict()) or length
    if taken != width or limit < length:
        raise ConfigError(
            f"the encoder takes up to {limit} vectors of {taken} numbers, but the texts have {length} of {width}"
        )
    made.set_input_embeddings(nn.Identity())
    if getattr(made, "pooler", None) is not None:
        made.pooler = None
    return EncoderBody(made, made.config.to_dict()), int(made.config.hidden_size)


def _check_whole(made: nn.Module, told: Mapping[str, Any], encoder: Path) -> None:
    """Raise ConfigError if the files lack weights, which transformers initialises at random, or contain NaN or inf."""
    missing = sorted(name for name in told["missing_keys"] if not name.startswith("pooler."))
    broken = [name for name, tensor in made.state_dict().items() if not bool(tensor.isfinite().all())]
    for what, names in (("lack", missing), ("are not finite in", broken)):
        if names:
            raise ConfigError(
                f"the weights in {encoder} {what} {len(names)} tensors, such as {names[0]}; download them again"
            )

"""How the parser makes a family: what is recorded of the data in its checkpoints."""

from typing import Any

from lightning.pytorch.cli import _InstantiatorFn


class FamilyInstantiator(_InstantiatorFn):
    """Lightning's own, but that it records of the data only what the model and its encoder have an argument for."""

    def __call__(self, class_type: type[Any], *args: Any, applied_instantiation_links: dict[str, Any], **kwargs: Any) -> Any:
        """Make the family, and leave out of the record what has no argument in it."""
        wanted = {key: value for key, value in applied_instantiation_links.items() if key in self.cli.config}
        self.cli._dump_config()
        for key in wanted:  # which is left out where a class has no other argument
            owner, _, _ = key.removeprefix(f"{self.key}.init_args.").rpartition(".init_args.")
            if owner:
                self.cli.config_dump[self.key]["init_args"][owner].setdefault("init_args", {})
        return super().__call__(class_type, *args, applied_instantiation_links=wanted, **kwargs)

"""The page as it is served: to this machine alone, and with nothing from elsewhere."""

import os
import signal
import sys
import tempfile
from pathlib import Path

from lab.apply.embed import EmbeddedFolder
from lab.apply.trained import Trained

LARGEST_UPLOAD = 10 * 1024**2
CSS = """
.verdict { font-size: 1.6rem; font-weight: 650; margin: .2rem 0; }
.wrong { font-weight: 600; border-left: 4px solid #D55E00; padding: .4rem .8rem; }
.bar { width: 100%; max-width: 36rem; display: block; }
.bar .mark { font-size: 14px; fill: currentColor; }
.small { font-size: .85rem; }
"""


def serve(trained: Trained, gallery: EmbeddedFolder | None, port: int) -> None:
    """Serve the page until it is stopped; what was uploaded is then removed.

    Raises:
        OSError: if the port is taken.
    """
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # by which nothing would be removed otherwise
    with tempfile.TemporaryDirectory(prefix="lab_demo_") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads  # read when Gradio is imported and when a page is made
        import gradio

        from lab.demo.page import page

        blocks = page(trained, gallery, Path(uploads))
        theme = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
        try:
            blocks.launch(
                server_name="127.0.0.1",
                server_port=port,
                share=False,
                quiet=True,
                prevent_thread_lock=True,
                max_file_size=LARGEST_UPLOAD,
                footer_links=[],
                ssr_mode=False,
                mcp_server=False,
                pwa=False,
                enable_monitoring=False,
                theme=theme,
                css=CSS,
            )
        except OSError as error:
            raise OSError(f"port {port} cannot be used: another program has it; choose another by --port") from error
        print(f"open http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
        try:
            blocks.block_thread()
        finally:
            blocks.close(verbose=False)

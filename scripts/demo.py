"""Try a trained model in a browser: python scripts/demo.py RUN/checkpoints/best.ckpt [--gallery FOLDER] [--port 7860]."""

from lab.demo import demo

if __name__ == "__main__":
    demo()

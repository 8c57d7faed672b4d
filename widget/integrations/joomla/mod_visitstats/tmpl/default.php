<?php
defined('_JEXEC') or die;

// The box stays here when an extension moves the script.
echo "<div data-vs-box></div>\n", $snippet->html();

<?php
// As much of Joomla as the module calls: application, document, module helper, and a database that answers one row.

namespace Joomla\CMS {
    final class Factory
    {
        public static function getContainer()
        {
            return new Container();
        }
        public static function getApplication()
        {
            return $GLOBALS['application'];
        }
    }

    final class Container
    {
        public function get($name)
        {
            return new \Database();
        }
    }
}

namespace Joomla\CMS\Helper {
    final class ModuleHelper
    {
        public static function getLayoutPath($module, $layout)
        {
            return FOLDER . "/tmpl/$layout.php";
        }
    }
}

namespace {
    error_reporting(E_ALL);
    set_error_handler(function ($level, $message, $file, $line) {
        throw new ErrorException($message, 0, $level, $file, $line);
    });
    $case = json_decode(stream_get_contents(STDIN), true);
    define('_JEXEC', 1);
    define('FOLDER', dirname(__DIR__, 2) . '/widget/integrations/joomla/mod_visitstats');

    final class Query
    {
        public $text = '';
        public function __call($name, $given)
        {
            $this->text .= strtoupper($name) . ' ' . json_encode($given) . "\n";
            return $this;
        }
    }

    final class Database
    {
        private $query;
        public function getQuery($new)
        {
            return new Query();
        }
        public function quoteName($name, $as = null)
        {
            if (is_array($name)) {
                return array_map(array($this, 'quoteName'), $name, $as);
            }
            return '`' . str_replace('.', '`.`', $name) . '`' . ($as ? " AS `$as`" : '');
        }
        public function setQuery($query)
        {
            $GLOBALS['queries'][] = $query->text;
            return $this;
        }
        public function loadObject()
        {
            return $GLOBALS['case']['article'] ? (object) $GLOBALS['case']['article'] : null;
        }
    }

    final class Input
    {
        public function getCmd($name)
        {
            return $GLOBALS['case']['input'][$name];
        }
        public function getInt($name)
        {
            return (int) $GLOBALS['case']['input'][$name];
        }
    }

    final class Document
    {
        public $metas = array();
        public function setMetaData($name, $content, $attribute)
        {
            $this->metas[] = array($attribute, $name, $content);
        }
    }

    final class Application
    {
        public $input;
        private $document;
        public function __construct()
        {
            $this->input = new Input();
            $this->document = new Document();
        }
        public function getDocument()
        {
            return $this->document;
        }
    }

    final class Registry
    {
        public function get($name, $usual)
        {
            return $name === 'snippet' ? $GLOBALS['case']['pasted'] : $usual;
        }
    }

    $queries = array();
    $application = new Application();
    $rendered = function ($params) {
        ob_start();
        include FOLDER . '/mod_visitstats.php';
        return ob_get_clean();
    };
    $content = $rendered(new Registry());
    echo json_encode(array('content' => $content, 'metas' => $application->getDocument()->metas, 'queries' => $queries));
}
